// The emoji of the open part: none of them is in any other split. Short names of emoji-datasource by group and class; after
// "=" the name captions use where Unicode's would not do ("_" is a space).
//
// The groups of `twice` are drawn in two styles. The others take the two in turn, one each, to save space.
//
// Left out on purpose: skin tones, gender variants of a neutral person, clock faces (a mirrored clock tells another time),
// keycaps, Japanese buttons, and flags drawn like a flag of the `flags` split (Bouvet Island's is Norway's).

export const twice = ["animal", "plant", "food", "place", "transport", "sky"];

export const open = {
  animal: {
    "animal-part": "feather wing pig_nose=pig_snout feet=paw_prints shell=spiral_shell",
    amphibian: "frog",
    bird: "phoenix",
    bug: "snail worm",
    dinosaur: "sauropod t-rex=tyrannosaur",
    dragon: "dragon_face dragon",
    hoofed: `moose unicorn_face=unicorn bison ox water_buffalo boar sheep=ewe dromedary_camel=dromedary rhinoceros
      hippopotamus`,
    mammal: `monkey_face monkey gorilla orangutan elephant mammoth bat bear polar_bear koala panda_face sloth otter
      skunk kangaroo badger see_no_evil=monkey_with_covered_eyes hear_no_evil=monkey_with_covered_ears
      speak_no_evil=monkey_with_a_covered_mouth`,
    nest: "empty_nest nest_with_eggs spider_web",
    reptile: "crocodile turtle lizard snake",
    rodent: "beaver",
    "sea-animal": "coral=piece_of_coral oyster",
  },
  plant: {
    flower: "white_flower=white_flower_stamp",
    leaf: "ear_of_rice herb=sprig_of_herb shamrock four_leaf_clover=four-leaf_clover fallen_leaf leaves=leaf_in_the_wind",
    tree: "christmas_tree=christmas_tree tanabata_tree leafless_tree bamboo=pine_decoration",
  },
  food: {
    bread: `bread=loaf_of_bread croissant baguette_bread=baguette flatbread pretzel bagel stuffed_flatbread pancakes
      waffle`,
    dish: `fries tamale falafel shallow_pan_of_food=pan_of_paella stew fondue=pot_of_fondue bowl_with_spoon=bowl_with_a_spoon green_salad
      popcorn=bag_of_popcorn rice_cracker rice_ball rice=bowl_of_rice sweet_potato oden=skewer_of_oden fried_shrimp
      fish_cake=fish_cake_with_a_swirl dumpling takeout_box`,
    drink: "baby_bottle pouring_liquid=glass_being_poured",
    fruit: "tomato olive coconut",
    ingredient: `cheese_wedge=wedge_of_cheese butter=stick_of_butter salt=salt_shaker egg honey_pot
      canned_food=can_of_food ice_cube=ice_cube`,
    meat: "meat_on_bone=piece_of_meat_on_the_bone poultry_leg=chicken_leg cut_of_meat=steak bacon=strip_of_bacon",
    nut: "peanuts chestnut",
    sweet: `icecream=ice_cream_cone shaved_ice=bowl_of_shaved_ice ice_cream=bowl_of_ice_cream doughnut cookie
      birthday=birthday_cake cake=slice_of_cake cupcake pie=slice_of_pie chocolate_bar candy=piece_of_candy lollipop
      custard=plate_of_custard moon_cake dango=stick_of_dango fortune_cookie`,
    vegetable: "beans ginger_root pea_pod brown_mushroom root_vegetable",
  },
  place: {
    building: "stadium building_construction=construction_site tokyo_tower=radio_tower",
    city: `cityscape city_sunset=city_at_dusk city_sunrise=city_at_sunset night_with_stars=city_under_the_stars
      foggy=city_in_the_fog bridge_at_night`,
    landscape: `camping=campsite beach_with_umbrella=beach desert desert_island national_park sunrise=sunrise_at_sea
      motorway railway_track milky_way=night_sky rice_scene=moon_viewing_table`,
    monument: "statue_of_liberty=liberty_statue moyai=stone_head fountain shinto_shrine=shrine_gate",
    mountain: "snow_capped_mountain mountain volcano mount_fuji=view_of_mount_fuji sunrise_over_mountains=sunrise_over_the_mountains",
    planet: `ringed_planet earth_africa=globe_showing_africa earth_americas=globe_showing_america
      earth_asia=globe_showing_asia globe_with_meridians`,
    ride: "carousel_horse playground_slide ferris_wheel roller_coaster",
    tent: "tent circus_tent",
  },
  transport: {
    "cable-car": "mountain_cableway=mountain_cable_car aerial_tramway",
    "car-part": "wheel fuelpump oil_drum seat",
    spacecraft: "satellite",
    train: `steam_locomotive railway_car bullettrain_side bullettrain_front train2 metro=metro_train light_rail=light_rail_train station=train_station
      tram monorail mountain_railway train=tram_car suspension_railway`,
    vehicle: `racing_motorcycle motor_scooter manual_wheelchair motorized_wheelchair bike scooter`,
    aircraft: "airplane_arriving=landing_airplane",
  },
  sky: {
    cloud: `cloud partly_sunny=sun_behind_a_cloud thunder_cloud_and_rain mostly_sunny=sun_behind_a_small_cloud barely_sunny=sun_behind_a_large_cloud partly_sunny_rain=sun_behind_a_rain_cloud rain_cloud snow_cloud
      lightning fog=fog_bank`,
    element: `fire droplet ocean snowflake rainbow hotsprings=hot_spring sweat_drops=splash_of_sweat dash=puff_of_wind
      boom=explosion`,
    moon: `new_moon waxing_crescent_moon first_quarter_moon moon full_moon waning_gibbous_moon last_quarter_moon
      waning_crescent_moon crescent_moon new_moon_with_face first_quarter_moon_with_face last_quarter_moon_with_face
      full_moon_with_face`,
    snowman: "snowman=snowman_in_the_snow snowman_without_snow=snowman",
    star: "sunny=sun sun_with_face=sun_with_a_face star star2 stars comet dizzy=dizzy_star sparkles=cluster_of_sparkles",
    storm: "tornado wind_blowing_face cyclone zap=lightning_bolt",
  },
  object: {
    accessory: `eyeglasses dark_sunglasses goggles folding_hand_fan hair_pick ring gem=gemstone
      prayer_beads=string_of_prayer_beads`,
    "art-supply": `art=artist's_palette thread=spool_of_thread sewing_needle yarn=ball_of_yarn knot=knotted_rope
      lower_left_paintbrush lower_left_crayon`,
    "audio-device": `mute=muted_speaker speaker=quiet_speaker sound=speaker loud_sound=loud_speaker loudspeaker
      mega=megaphone studio_microphone level_slider control_knobs microphone headphones=pair_of_headphones radio`,
    award: "medal trophy sports_medal first_place_medal=gold_medal second_place_medal=silver_medal third_place_medal=bronze_medal",
    bag: "purse handbag pouch shopping_bags school_satchel luggage=suitcase briefcase moneybag",
    ball: `soccer baseball softball basketball volleyball football=american_football rugby_football=rugby_ball
      tennis=tennis_ball 8ball=eight_ball bowling=bowling_ball`,
    bell: "bell no_bell=crossed-out_bell bellhop_bell",
    book: `notebook_with_decorative_cover=decorated_notebook closed_book book green_book blue_book orange_book books
      notebook ledger`,
    calendar: "date calendar spiral_calendar_pad",
    camera: "movie_camera film_projector camera camera_with_flash=camera_with_a_flash video_camera",
    charm: "nazar_amulet hamsa crystal_ball magic_wand reminder_ribbon=awareness_ribbon",
    chart: `chart=yen_chart bar_chart chart_with_upwards_trend=rising_chart chart_with_downwards_trend=falling_chart`,
    clock: "hourglass=hourglass hourglass_flowing_sand=running_hourglass",
    clothing: `martial_arts_uniform running_shirt_with_sash lab_coat safety_vest socks sari one-piece_swimsuit briefs
      shorts bikini womans_clothes=blouse womans_hat=sun_hat mortar_board military_helmet
      helmet_with_white_cross=rescue_helmet crown`,
    computer: "computer desktop_computer printer keyboard three_button_mouse trackball",
    container: `jar amphora funeral_urn basket bucket package=cardboard_box ballot_box_with_ballot=ballot_box
      card_file_box coffin wastebasket shopping_trolley`,
    decoration: `jack_o_lantern fireworks=burst_of_fireworks sparkler firecracker balloon tada=party_popper
      confetti_ball flags=carp_streamer wind_chime ribbon=bow gift=wrapped_gift frame_with_picture mirror_ball
      heart_decoration`,
    disk: "minidisc=minidisc floppy_disk cd=compact_disc dvd=video_disc vhs=video_cassette",
    document: `page_with_curl=curled_page scroll page_facing_up=sheet_of_paper newspaper rolled_up_newspaper
      bookmark_tabs memo=memo_and_pencil receipt clipboard identification_card=identity_card world_map japan=map_of_japan
      placard musical_score=sheet_of_music`,
    envelope: "email incoming_envelope envelope_with_arrow=envelope_with_an_arrow love_letter red_envelope e-mail=email_envelope",
    film: "film_frames=film_strip clapper tv cinema=cinema_sign",
    folder: "file_folder open_file_folder card_index_dividers",
    furniture: `door elevator mirror window bed couch_and_lamp=couch_and_lamp chair toilet shower=shower_head bathtub
      file_cabinet`,
    game: `dart=dartboard video_game=game_controller joystick slot_machine game_die=die jigsaw chess_pawn
      black_joker=joker_card `,
    "household-item": "smoking fire_extinguisher mouse_trap broom plunger",
    instrument: `saxophone accordion guitar musical_keyboard=piano_keyboard trumpet violin banjo drum_with_drumsticks
      long_drum maracas flute harp postal_horn`,
    key: "key old_key",
    lamp: `candle bulb flashlight izakaya_lantern=paper_lantern diya_lamp=oil_lamp rotating_light=police_light
      traffic_light=horizontal_traffic_light vertical_traffic_light=traffic_light`,
    lock: `lock=closed_lock unlock=open_lock lock_with_ink_pen=lock_with_a_pen closed_lock_with_key=lock_with_a_key`,
    "machine-part": "nut_and_bolt=nut_and_bolt gear link=chain_link broken_chain chains=pair_of_chains hook anchor battery low_battery electric_plug",
    mailbox: `mailbox_closed=closed_mailbox mailbox=mailbox_with_a_flag mailbox_with_mail=open_mailbox
      mailbox_with_no_mail=empty_mailbox postbox outbox_tray inbox_tray`,
    mask: "performing_arts=pair_of_theatre_masks diving_mask",
    material: "bricks rock wood=pile_of_logs",
    "measuring-tool": "compass thermometer scales=balance_scale straight_ruler=ruler triangular_ruler abacus",
    "medical-tool": "syringe pill adhesive_bandage crutch stethoscope x-ray probing_cane",
    memorial: "headstone",
    money: "coin yen=yen_banknote dollar=dollar_banknote euro=euro_banknote pound=pound_banknote money_with_wings=banknote_with_wings credit_card",
    "musical-note": "musical_note notes=group_of_musical_notes",
    "office-supply": `spiral_note_pad card_index pushpin round_pushpin=map_pin paperclip
      linked_paperclips=pair_of_paperclips scissors safety_pin`,
    "optical-device": "mag=magnifying_glass microscope telescope satellite_antenna=satellite_dish",
    pen: "pencil2=pencil black_nib=pen_nib lower_left_fountain_pen lower_left_ballpoint_pen=ballpoint_pen",
    phone: "iphone=mobile_phone calling=ringing_mobile_phone phone telephone_receiver pager fax",
    specimen: "alembic test_tube petri_dish dna=strand_of_dna microbe drop_of_blood",
    "sports-gear": `flying_disc cricket_bat_and_ball=cricket_bat field_hockey_stick_and_ball=field_hockey_stick
      ice_hockey_stick_and_puck=ice_hockey_stick lacrosse=lacrosse_stick table_tennis_paddle_and_ball=ping-pong_paddle
      badminton_racquet_and_shuttlecock=badminton_racket boxing_glove goal_net golf=golf_flag
      fishing_pole_and_fish=fishing_pole ski=pair_of_skis sled curling_stone skateboard parachute ring_buoy=life_buoy`,
    ticket: "admission_tickets ticket label=price_tag bookmark=bookmark_ribbon",
    toiletry: `razor lotion_bottle roll_of_paper=toilet_roll soap=bar_of_soap bubbles toothbrush sponge lipstick
      nail_care=bottle_of_nail_polish`,
    tool: `hammer axe pick=pickaxe hammer_and_pick=crossed_hammer_and_pick hammer_and_wrench=crossed_hammer_and_wrench
      carpentry_saw wrench screwdriver compression=clamp toolbox magnet ladder shovel`,
    toy: `yo-yo kite gun=water_pistol teddy_bear pinata=pinata nesting_dolls=set_of_nesting_dolls
      dolls=pair_of_festival_dolls boomerang`,
    umbrella: "closed_umbrella umbrella=open_umbrella umbrella_with_rain_drops=umbrella_in_the_rain umbrella_on_ground=beach_umbrella",
    utensil: `chopsticks=pair_of_chopsticks knife_fork_plate=plate_with_a_fork_and_knife fork_and_knife=fork_and_knife
      spoon hocho=kitchen_knife`,
    weapon: "dagger_knife crossed_swords=pair_of_crossed_swords bomb bow_and_arrow shield",
  },
  person: {
    athlete: `fencer=fencer horse_racing=horse_racer skier snowboarder golfer=golfer surfer=surfer rowboat=rower
      swimmer=swimmer person_with_ball=basketball_player weight_lifter=weight_lifter bicyclist=cyclist
      mountain_bicyclist=mountain_biker person_doing_cartwheel=person_doing_a_cartwheel wrestlers=pair_of_wrestlers
      water_polo=water_polo_player handball=handball_player juggling=juggler person_climbing=climber runner=runner`,
    "body-part": `muscle=flexed_arm mechanical_arm mechanical_leg leg foot ear ear_with_hearing_aid=ear_with_a_hearing_aid nose brain
      anatomical_heart lungs tooth bone eyes eye tongue lips=mouth biting_lip`,
    crowd: `people_holding_hands=couple_holding_hands couplekiss=kissing_couple couple_with_heart=couple_in_love
      man-woman-girl-boy=family_of_four man-woman-boy=family_of_three dancers=pair_of_dancers
      people_hugging=hugging_couple busts_in_silhouette=pair_of_silhouettes`,
    hand: `wave=waving_hand raised_back_of_hand=back_of_a_raised_hand raised_hand_with_fingers_splayed=spread_hand hand=raised_hand
      spock-hand=hand_in_a_vulcan_salute palm_down_hand=hand_with_its_palm_down
       ok_hand=hand_making_an_ok_sign pinched_fingers=hand_with_pinched_fingers
      pinching_hand v=hand_making_a_victory_sign crossed_fingers=hand_with_crossed_fingers
      hand_with_index_finger_and_thumb_crossed=hand_snapping_its_fingers i_love_you_hand_sign=love-you_hand
      the_horns=hand_making_horns call_me_hand=call-me_hand point_right=pointing_hand point_up_2=hand_pointing_up
      point_down=hand_pointing_down index_pointing_at_the_viewer=hand_pointing_at_the_viewer
      +1=thumbs-up -1=thumbs-down fist=raised_fist facepunch=punching_fist
      clap=pair_of_clapping_hands raised_hands=pair_of_raised_hands heart_hands=pair_of_hands_making_a_heart
      open_hands=pair_of_open_hands palms_up_together=pair_of_cupped_hands handshake pray=pair_of_folded_hands
      writing_hand selfie=hand_taking_a_selfie`,
    "mythical-being": `angel=baby_angel santa=santa_claus mrs_claus=woman_in_a_santa_suit superhero supervillain mage=wizard fairy
      vampire merperson mermaid elf genie zombie troll japanese_ogre=red_ogre japanese_goblin=goblin alien
      space_invader=alien_monster`,
    person: `baby child boy girl adult man woman person_with_blond_hair=person_with_blond_hair
      bearded_person=person_with_a_beard red_haired_person=person_with_red_hair
      curly_haired_person=person_with_curly_hair white_haired_person=person_with_white_hair bald_person=bald_person
      older_adult=old_person older_man=old_man older_woman=old_woman person_frowning=frowning_person
      person_with_pouting_face=pouting_person no_good=person_crossing_their_arms ok_woman=person_making_a_circle
      information_desk_person=person_tipping_a_hand raising_hand=person_raising_a_hand deaf_person
      bow=bowing_person face_palm=person_covering_their_face shrug=shrugging_person
      person_with_crown=person_with_a_crown prince princess man_with_turban=person_with_a_turban
      man_with_gua_pi_mao=person_with_a_skullcap person_with_headscarf=woman_with_a_headscarf
      person_in_tuxedo=person_in_a_tuxedo bride_with_veil=person_with_a_veil pregnant_woman
      person_feeding_baby=person_feeding_a_baby massage=person_getting_a_massage haircut=person_getting_a_haircut
      walking=walking_person standing_person=standing_person kneeling_person=kneeling_person
      person_with_probing_cane=person_with_a_white_cane person_in_motorized_wheelchair=person_in_a_motorized_wheelchair
      person_in_manual_wheelchair=person_in_a_wheelchair dancer=dancing_woman man_dancing=dancing_man
      man_in_business_suit_levitating=floating_person_in_a_suit person_in_steamy_room=person_in_a_sauna
      person_in_lotus_position=person_in_the_lotus_position bath=person_taking_a_bath sleeping_accommodation=person_in_bed
      bust_in_silhouette=silhouette_of_a_person speaking_head_in_silhouette=speaking_head`,
    worker: `health_worker student teacher judge farmer cook mechanic factory_worker office_worker scientist
      technologist singer artist pilot astronaut firefighter cop=police_officer sleuth_or_spy=detective guardsman=guard
      ninja construction_worker`,
  },
  face: {
    face: `smiley grin laughing rolling_on_the_floor_laughing=face_rolling_with_laughter
      slightly_smiling_face upside_down_face blush smiling_face_with_3_hearts kissing_heart
      kissing_closed_eyes smiling_face_with_tear=smiling_face_with_a_tear stuck_out_tongue=face_with_its_tongue_out
      stuck_out_tongue_winking_eye=winking_face_with_its_tongue_out
       money_mouth_face hugging_face=hugging_face
        shushing_face
      saluting_face face_with_raised_eyebrow=face_with_a_raised_eyebrow expressionless no_mouth=face_without_a_mouth
       face_in_clouds=face_in_the_clouds face_with_rolling_eyes grimacing
       lying_face=face_with_a_long_nose relieved pensive drooling_face
      face_with_bags_under_eyes=tired_face_with_bags_under_its_eyes face_with_thermometer=face_with_a_thermometer
      face_with_head_bandage=face_with_a_bandage face_vomiting=vomiting_face sneezing_face hot_face woozy_face
      dizzy_face face_with_spiral_eyes partying_face disguised_face face_with_monocle=face_with_a_monocle confused
      astonished pleading_face face_holding_back_tears anguished fearful
       disappointed_relieved cry sweat tired_face yawning_face
      triumph=face_with_steam_from_its_nose angry face_with_symbols_on_mouth=cursing_face imp`,
  },
  sign: {
    arrow: `arrow_up arrow_lower_right=down-right_arrow arrow_down arrow_lower_left=down-left_arrow arrow_left
      arrow_upper_left=up-left_arrow arrow_up_down left_right_arrow arrow_right_hook=arrow_curving_right
      arrow_heading_up=arrow_curving_up arrow_heading_down=arrow_curving_down
      arrows_counterclockwise=pair_of_counterclockwise_arrows back=back_arrow end=end_arrow on=on_arrow
      soon=soon_arrow top=top_arrow`,
    button: `twisted_rightwards_arrows=shuffle_button repeat arrow_forward fast_forward
       arrow_up_small=up_button
      double_vertical_bar black_square_for_stop black_circle_for_record eject high_brightness
      signal_strength=phone_signal_button wireless=wireless_button capital_abcd=capital_letters_button
      1234=numbers_button symbols=symbols_button a=letter_a_button b=letter_b_button cool=cool_button free=free_button
      information_source=information_button new=new_button white_check_mark `,
    flag: `checkered_flag triangular_flag_on_post crossed_flags=pair_of_crossed_flags waving_black_flag
      waving_white_flag rainbow-flag pirate_flag flag-england flag-scotland flag-wales
      flag-ae flag-al flag-ba flag-bd flag-be flag-bg flag-bo flag-cl flag-co flag-cu flag-cy
      flag-cz flag-dk flag-dz flag-ec flag-ee flag-et flag-eu flag-fi flag-gh flag-hk flag-hr flag-hu
      flag-id flag-ie flag-il flag-iq flag-ir flag-is flag-jm flag-kh flag-kz flag-lb flag-lk flag-lt flag-ma
        flag-mn flag-my flag-np flag-nl flag-pe flag-ph flag-pk flag-pl flag-ps
      flag-qa flag-ro flag-rs ru flag-sa flag-sg flag-si flag-tn flag-tw flag-ug flag-un
      flag-va flag-ve`,
    heart: `cupid=heart_with_an_arrow gift_heart=heart_with_a_ribbon sparkling_heart heartpulse heartbeat
      revolving_hearts=pair_of_revolving_hearts two_hearts=pair_of_hearts heavy_heart_exclamation_mark_ornament=heart_over_a_dot broken_heart heart_on_fire
      mending_heart heart pink_heart orange_heart yellow_heart green_heart blue_heart light_blue_heart purple_heart
      brown_heart black_heart grey_heart white_heart`,
    shape: `red_circle large_orange_circle large_yellow_circle large_green_circle large_blue_circle large_purple_circle
      large_brown_circle black_circle white_circle large_red_square large_orange_square large_yellow_square
      large_green_square large_blue_square large_purple_square large_brown_square black_large_square=black_square
      white_large_square=white_square large_orange_diamond=orange_diamond large_blue_diamond=blue_diamond
      small_red_triangle=red_triangle small_red_triangle_down=upside-down_red_triangle
      diamond_shape_with_a_dot_inside=diamond_with_a_dot hole o=red_ring`,
    sign: `atm=cash_machine_sign put_litter_in_its_place potable_water=drinking_water_sign wheelchair=wheelchair_sign
      mens=men's_room_sign womens=women's_room_sign restroom=restroom_sign baby_symbol=baby_sign wc=water_closet_sign
      passport_control=passport_control_sign customs=customs_sign baggage_claim=baggage_claim_sign
      left_luggage=left_luggage_sign children_crossing=children_crossing_sign no_entry_sign=prohibited_sign
      no_bicycles=no_bicycles_sign no_smoking=no_smoking_sign do_not_litter=no_littering_sign
      non-potable_water=no_drinking_water_sign no_pedestrians=no_pedestrians_sign
      no_mobile_phones=no_mobile_phones_sign underage=adults_only_sign octagonal_sign busstop
      construction=construction_barrier barber female_sign male_sign `,
    "speech-bubble": `speech_balloon=speech_bubble eye-in-speech-bubble=speech_bubble_with_an_eye
      left_speech_bubble=small_speech_bubble right_anger_bubble=anger_bubble thought_balloon=thought_bubble`,
    symbol: `place_of_worship=place_of_worship_symbol atom_symbol om_symbol=om_symbol wheel_of_dharma
      orthodox_cross star_and_crescent=star_and_crescent_symbol menorah_with_nine_branches
      taurus=taurus_symbol gemini=gemini_symbol cancer=cancer_symbol virgo=virgo_symbol libra=libra_symbol
      sagittarius=sagittarius_symbol capricorn=capricorn_symbol pisces=pisces_symbol ophiuchus=ophiuchus_symbol
      heavy_minus_sign=minus_symbol heavy_division_sign=division_symbol bangbang
      grey_question=white_question_mark grey_exclamation=white_exclamation_mark
      currency_exchange=currency_exchange_symbol heavy_dollar_sign=dollar_symbol medical_symbol fleur_de_lis
      ballot_box_with_check=checked_box x=cross_mark loop=double_loop
      eight_spoked_asterisk eight_pointed_black_star=eight-pointed_star sparkle copyright=copyright_symbol
      registered=registered_symbol tm=trademark_symbol spades=spade_suit_symbol hearts=heart_suit_symbol
      diamonds=diamond_suit_symbol clubs=club_suit_symbol kiss=lipstick_mark 100=hundred_points_symbol
      anger=anger_symbol zzz=sleep_symbol skull_and_crossbones fingerprint footprints`,
  },
};
