//! Which of many is whose: the assignment of least cost (Kuhn 1955), by successive shortest paths (Jonker and Volgenant
//! 1987).

/// For each of `rows` a column of its own such that the costs together are least; where there are fewer columns than rows,
/// for each column a row. Pairs of row and column, by row. The time is the square of the smaller number times the larger.
///
/// Costs are finite.
pub(super) fn assign(rows: usize, columns: usize, cost: &dyn Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    if rows > columns {
        let mut pairs: Vec<(usize, usize)> =
            assign(columns, rows, &|row, column| cost(column, row)).into_iter().map(|(a, b)| (b, a)).collect();
        pairs.sort_unstable();
        return pairs;
    }
    // What a row, a column pays less than its cheapest assignment costs; no pair costs less than both together.
    let (mut row_price, mut column_price) = (vec![0.0; rows], vec![0.0; columns]);
    let mut owner: Vec<Option<usize>> = vec![None; columns];
    for new in 0..rows {
        // The cheapest way to every column, and the column before it on that way.
        let mut reach = vec![f64::INFINITY; columns];
        let mut before: Vec<Option<usize>> = vec![None; columns];
        let mut done = vec![false; columns];
        let (mut row, mut from, mut length) = (new, None, 0.0);
        let last = loop {
            for column in (0..columns).filter(|&column| !done[column]) {
                let way = length + cost(row, column) - row_price[row] - column_price[column];
                if way < reach[column] {
                    (reach[column], before[column]) = (way, from);
                }
            }
            let open = (0..columns).filter(|&column| !done[column]);
            let Some(next) = open.min_by(|&a, &b| reach[a].total_cmp(&reach[b])) else { return Vec::new() };
            done[next] = true;
            length = reach[next];
            match owner[next] {
                Some(taken) => (row, from) = (taken, Some(next)),
                None => break next,
            }
        };
        // Prices along the way, so that it costs nothing any more.
        row_price[new] += length;
        for column in (0..columns).filter(|&column| done[column]) {
            let rest = length - reach[column];
            column_price[column] -= rest;
            if let Some(row) = owner[column] {
                row_price[row] += rest;
            }
        }
        let mut column = last;
        while let Some(earlier) = before[column] {
            owner[column] = owner[earlier];
            column = earlier;
        }
        owner[column] = Some(new);
    }
    let pairs = owner.into_iter().enumerate().filter_map(|(column, owner)| Some((owner?, column)));
    let mut pairs: Vec<(usize, usize)> = pairs.collect();
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least cost of assigning the rows from `row` on to columns that are not taken.
    fn least(costs: &[Vec<f64>], row: usize, taken: &mut Vec<bool>) -> f64 {
        if row == costs.len() {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for column in 0..taken.len() {
            if !taken[column] {
                taken[column] = true;
                best = best.min(costs[row][column] + least(costs, row + 1, taken));
                taken[column] = false;
            }
        }
        best
    }

    fn matrices() -> impl Strategy<Value = Vec<Vec<f64>>> {
        // Few values, so that there are ties, and negative ones, as overlaps are.
        let cost = prop_oneof![(-3_i32..4).prop_map(f64::from), -5.0..5.0_f64];
        (1_usize..6, 1_usize..7).prop_flat_map(move |(rows, columns)| {
            prop::collection::vec(prop::collection::vec(cost.clone(), columns), rows)
        })
    }

    proptest! {
        #[test]
        fn no_other_assignment_costs_less(costs in matrices()) {
            let (rows, columns) = (costs.len(), costs[0].len());
            let pairs = assign(rows, columns, &|row, column| costs[row][column]);
            prop_assert_eq!(pairs.len(), rows.min(columns));
            for (index, pair) in pairs.iter().enumerate() {
                prop_assert!(pairs[..index].iter().all(|other| other.0 < pair.0 && other.1 != pair.1), "{:?}", pairs);
            }
            let found: f64 = pairs.iter().map(|&(row, column)| costs[row][column]).sum();
            let turned: Vec<Vec<f64>> = (0..columns).map(|column| costs.iter().map(|row| row[column]).collect()).collect();
            let costs = if rows <= columns { costs } else { turned };
            let expected = least(&costs, 0, &mut vec![false; costs[0].len()]);
            prop_assert!((found - expected).abs() < 1e-9, "{} is more than {}", found, expected);
        }
    }

    /// The first row's cheapest column is worth more to the second.
    #[test]
    fn two_by_hand() {
        let costs = [[1.0, 2.0, 9.0], [1.0, 5.0, 9.0]];
        assert_eq!(assign(2, 3, &|row, column| costs[row][column]), [(0, 1), (1, 0)]);
        assert_eq!(assign(3, 2, &|row, column| costs[column][row]), [(0, 1), (1, 0)]);
        assert_eq!(assign(0, 3, &|_, _| 0.0), []);
        assert_eq!(assign(3, 0, &|_, _| 0.0), []);
    }
}
