//! Places boxes in ranks from top to bottom in the order of data flow (Sugiyama, Tagawa and Toda 1981): ranks by the
//! longest path, an order within each rank by the mean of the neighbours, and then positions.

/// The distance of neighbouring boxes of a rank.
const GAP: f64 = 26.0;
/// The distance of ranks.
const RANK_GAP: f64 = 30.0;
/// The width of an edge that passes a rank.
const EDGE_WIDTH: f64 = 4.0;
/// Sweeps over all ranks, for the order and then for the positions.
const SWEEPS: usize = 16;
/// How much more a box holds its place than an edge that passes: it is the edge that goes around.
const BOX_WEIGHT: f64 = 8.0;

/// Where boxes and edges are.
#[derive(Debug)]
pub(super) struct Layout {
    /// The left and upper corner of each box.
    pub(super) corners: Vec<[f64; 2]>,
    /// The points of each edge, between which it is a straight or curved line in turn, beginning with a curve.
    pub(super) paths: Vec<Vec<[f64; 2]>>,
    /// Width and height of the whole.
    pub(super) size: [f64; 2],
}

/// A box, or an edge that passes a rank.
struct Item {
    size: [f64; 2],
    weight: f64,
    rank: usize,
    x: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Places boxes of these sizes, given in the order of data flow, with edges between them.
pub(super) fn layout(sizes: &[[f64; 2]], edges: &[(usize, usize)]) -> Layout {
    let ranks = ranks(sizes.len(), edges);
    let item =
        |size, weight, rank| Item { size, weight, rank, x: 0.0, before: Vec::new(), after: Vec::new() };
    let mut items: Vec<Item> =
        sizes.iter().zip(&ranks).map(|(&size, &rank)| item(size, BOX_WEIGHT, rank)).collect();
    let mut chains = Vec::new();
    for &(from, to) in edges {
        let mut chain = vec![from];
        for rank in ranks[from] + 1..ranks[to] {
            chain.push(items.len());
            items.push(item([EDGE_WIDTH, 0.0], 1.0, rank));
        }
        chain.push(to);
        // An edge back to a label that is used again does not order anything.
        if ranks[from] < ranks[to] {
            for link in chain.windows(2) {
                items[link[0]].after.push(link[1]);
                items[link[1]].before.push(link[0]);
            }
        }
        chains.push(chain);
    }
    let rows = ordered(&mut items);
    let heights: Vec<f64> =
        rows.iter().map(|row| row.iter().map(|&index| items[index].size[1]).fold(0.0, f64::max)).collect();
    let mut tops = vec![0.0];
    for height in &heights {
        tops.push(tops[tops.len() - 1] + height + RANK_GAP);
    }
    let left = items.iter().map(|item| item.x - item.size[0] / 2.0).fold(f64::INFINITY, f64::min);
    let right = items.iter().map(|item| item.x + item.size[0] / 2.0).fold(f64::NEG_INFINITY, f64::max);
    let top = |item: &Item| tops[item.rank] + (heights[item.rank] - item.size[1]) / 2.0;
    let corners =
        items[..sizes.len()].iter().map(|item| [item.x - item.size[0] / 2.0 - left, top(item)]).collect();
    let paths = chains.iter().map(|chain| {
        let (first, last) = (&items[chain[0]], &items[chain[chain.len() - 1]]);
        let mut points = vec![[first.x - left, top(first) + first.size[1]]];
        for &index in &chain[1..chain.len() - 1] {
            let (x, upper) = (items[index].x - left, tops[items[index].rank]);
            points.extend([[x, upper], [x, upper + heights[items[index].rank]]]);
        }
        points.push([last.x - left, top(last)]);
        points
    });
    let size = [right - left, tops[tops.len() - 1] - RANK_GAP].map(|size| size.max(0.0));
    Layout { paths: paths.collect(), corners, size }
}

/// The rank of each box: below all boxes that it depends on, and boxes without such right above their first use.
fn ranks(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut ranks = vec![0; count];
    let mut sorted = edges.to_vec();
    sorted.sort_unstable_by_key(|&(from, to)| (to, from));
    for &(from, to) in sorted.iter().filter(|(from, to)| from < to) {
        ranks[to] = ranks[to].max(ranks[from] + 1);
    }
    for root in 0..count {
        if !edges.iter().any(|&(_, to)| to == root) {
            let first =
                edges.iter().filter(|&&(from, to)| from == root && from < to).map(|&(_, to)| ranks[to]).min();
            ranks[root] = first.map_or(ranks[root], |first| first - 1);
        }
    }
    ranks
}

/// Orders the items of each rank and gives them positions.
fn ordered(items: &mut [Item]) -> Vec<Vec<usize>> {
    let count = items.iter().map(|item| item.rank + 1).max().unwrap_or(0);
    let mut rows = vec![Vec::new(); count];
    for (index, item) in items.iter().enumerate() {
        rows[item.rank].push(index);
    }
    for row in &rows {
        place(items, row, &vec![0.0; row.len()]);
    }
    // The last sweep is downwards, so that each box stands below those that it depends on.
    for sweep in 1..=2 * SWEEPS {
        let is_down = sweep % 2 == 0;
        for step in 0..count {
            let rank = if is_down { step } else { count - 1 - step };
            let wished = |index: usize| {
                let neighbours = if is_down { &items[index].before } else { &items[index].after };
                let weight: f64 = neighbours.iter().map(|&neighbour| items[neighbour].weight).sum();
                let sum: f64 = neighbours.iter().map(|&other| items[other].weight * items[other].x).sum();
                if neighbours.is_empty() { items[index].x } else { sum / weight }
            };
            if sweep <= SWEEPS {
                rows[rank].sort_by(|&a, &b| wished(a).total_cmp(&wished(b)));
            }
            let wishes: Vec<f64> = rows[rank].iter().map(|&index| wished(index)).collect();
            place(items, &rows[rank], &wishes);
        }
    }
    rows
}

/// Places the items of a rank as near as possible to where they wish to be (least squares), in their order and without
/// overlap: isotonic regression of the wishes less the width of all items to the left.
fn place(items: &mut [Item], row: &[usize], wishes: &[f64]) {
    let mut offsets = vec![0.0];
    for pair in row.windows(2) {
        let half = (items[pair[0]].size[0] + items[pair[1]].size[0]) / 2.0;
        offsets.push(offsets[offsets.len() - 1] + half + GAP);
    }
    // Neighbours that would overlap move as one: their weighted wishes, their weight, and their number.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for ((wish, offset), &index) in wishes.iter().zip(&offsets).zip(row) {
        let weight = items[index].weight;
        let mut block = (weight * (wish - offset), weight, 1);
        while let Some(&(sum, weight, count)) = blocks.last()
            && sum / weight >= block.0 / block.1
        {
            block = (block.0 + sum, block.1 + weight, block.2 + count);
            blocks.pop();
        }
        blocks.push(block);
    }
    let places = blocks.iter().flat_map(|&(sum, weight, count)| std::iter::repeat_n(sum / weight, count));
    for ((&index, offset), place) in row.iter().zip(offsets).zip(places) {
        items[index].x = place + offset;
    }
}

#[cfg(test)]
mod tests {
    use super::layout;

    /// A chain with an edge around it, and two branches that join.
    #[test]
    fn boxes_stand_below_what_they_read_and_apart() {
        let sizes = [[100.0, 40.0], [100.0, 60.0], [80.0, 40.0], [100.0, 40.0], [100.0, 40.0]];
        let edges = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (3, 4)];
        let placed = layout(&sizes, &edges);
        for (&(from, to), path) in edges.iter().zip(&placed.paths) {
            assert!(
                placed.corners[from][1] + sizes[from][1] < placed.corners[to][1],
                "{from} {to}: {placed:?}"
            );
            assert!(path.windows(2).all(|pair| pair[0][1] <= pair[1][1]), "{placed:?}");
        }
        let [one, two] = [1, 2].map(|index| (placed.corners[index][0], sizes[index][0]));
        assert!(one.0 + one.1 < two.0 || two.0 + two.1 < one.0, "{placed:?}");
        // Edges around boxes are inside the picture too.
        let inside =
            |[x, y]: [f64; 2]| (0.0..=placed.size[0]).contains(&x) && (0.0..=placed.size[1]).contains(&y);
        assert!(placed.paths.iter().flatten().all(|&point| inside(point)), "{placed:?}");
        for (corner, size) in placed.corners.iter().zip(sizes) {
            assert!(inside(*corner) && inside([corner[0] + size[0], corner[1] + size[1]]), "{placed:?}");
        }
        assert!(placed.size[0] < 260.0, "{placed:?}");
    }

    #[test]
    fn nothing_and_labels_that_are_used_again_have_places() {
        assert_eq!(layout(&[], &[]).size, [0.0, 0.0]);
        let placed = layout(&[[50.0, 20.0]; 2], &[(0, 1), (1, 0)]);
        assert_eq!(placed.paths[1].len(), 2);
    }
}
