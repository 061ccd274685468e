//! A text as the network reads it: its phrases do not see one another.

/// The tokens of a text, and which of them see one another.
///
/// A phrase ends with a token that separates phrases, which belongs to it. Tokens of a phrase see one another and are
/// counted from 0. What the very first or the very last token ends is no phrase: its tokens see themselves alone and all
/// stand at 0. So words behind the last full stop have no context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    ids: Vec<u32>,
    positions: Vec<usize>,
    sees: Vec<bool>,
}

impl Prompt {
    /// A text's token numbers, special ones included, of which those that `separates` says stand between phrases.
    pub fn new(ids: Vec<u32>, separates: impl Fn(u32) -> bool) -> Self {
        let tokens = ids.len();
        let mut positions = vec![0; tokens];
        let mut sees: Vec<bool> = (0..tokens * tokens).map(|pair| pair / tokens == pair % tokens).collect();
        let mut start = 0;
        for end in (0..tokens).filter(|&at| separates(ids[at])) {
            if end > 0 && end + 1 < tokens {
                for from in start..=end {
                    positions[from] = from - start;
                    sees[from * tokens + start..=from * tokens + end].fill(true);
                }
            }
            start = end + 1;
        }
        Self { ids, positions, sees }
    }

    /// Numbers of the T tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Place of each token in its phrase.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Whether a token (row) sees another (column), T × T.
    pub fn sees(&self) -> &[bool] {
        &self.sees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_and_its_stop_see_one_another() {
        let prompt = Prompt::new(vec![1, 5, 6, 2, 7, 2, 8, 9], |id| matches!(id, 1 | 2 | 9));
        assert_eq!(prompt.positions(), [0, 0, 1, 2, 0, 1, 0, 0]);
        let row = |row: &[bool]| row.iter().map(|&sees| if sees { 'x' } else { '.' }).collect::<String>();
        let seen: Vec<String> = prompt.sees().chunks(8).map(row).collect();
        let expected = ["x.......", ".xxx....", ".xxx....", ".xxx....", "....xx..", "....xx..", "......x.", ".......x"];
        assert_eq!(seen, expected);
    }
}
