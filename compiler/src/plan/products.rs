//! Counts the multiply-adds that a kernel's tiles perform. Winograd's algorithm performs fewer than the definition of the
//! operator has, and tiles that overlap perform more.

use super::Plan;
use super::traffic::Count;
use crate::cost::Cost;
use crate::kernel::{Extent, Kernel, Split, Stmt, TileCall};
use crate::shape::Polynomial;

/// The floating-point operations of all tiles of a kernel of a plan, where a multiply-add counts as two; `None` for a
/// kernel without tiles. Epilogues do not count.
pub fn products(kernel: &Kernel, plan: &Plan) -> Option<Cost> {
    let one = Count::number(1.0);
    let mut times = one.clone();
    // All chunks together are the whole span.
    let chunk = match kernel.split {
        Split::Lanes(_, extent) => Count::of(extent, &one),
        Split::Serial | Split::Axes(_) => one.clone(),
    };
    let mut counter = Counter { ranges: vec![one.clone(); kernel.variables], chunk, plan, sums: Vec::new() };
    if let Split::Axes(axes) = &kernel.split {
        for &(var, extent) in axes {
            let count = Count::of(extent, &one);
            counter.ranges[var.0] = count.clone();
            times = times.times(&count);
        }
    }
    counter.body(&kernel.body, &times);
    let count = |flops: Polynomial, sum: &Count| flops.plus(&counter.polynomial(sum));
    let flops = counter.sums.iter().fold(Polynomial::from(0usize), count);
    (!counter.sums.is_empty()).then_some(Cost { flops })
}

struct Counter<'p> {
    /// The number of values of each variable.
    ranges: Vec<Count>,
    /// The elements of all chunks.
    chunk: Count,
    plan: &'p Plan,
    /// The operations of each tile.
    sums: Vec<Count>,
}

impl Counter<'_> {
    /// Counts the tiles of statements that run a number of times.
    fn body(&mut self, body: &[Stmt], times: &Count) {
        for stmt in body {
            match stmt {
                Stmt::For { var, start, end, step, body } => {
                    let range = Count::range([*start, *end], *step, &self.chunk);
                    self.ranges[var.0] = range.clone();
                    self.body(body, &times.clone().times(&range));
                }
                Stmt::Branch { value, bound, below, rest } => {
                    // Branches around tiles distinguish the last block of a range from the others.
                    let below_part = match value.terms[..] {
                        [(var, 1)] if value.constant == 0 && value.open.is_empty() => {
                            (*bound as f64 / self.ranges[var.0].factor).clamp(0.0, 1.0)
                        }
                        _ => 1.0,
                    };
                    self.body(below, &times.clone().times(&Count::number(below_part)));
                    self.body(rest, &times.clone().times(&Count::number(1.0 - below_part)));
                }
                Stmt::Lookup { found, .. } => self.body(found, times),
                Stmt::Tile(call) => {
                    let operations = times.clone().times(&operations(call));
                    self.sums.push(operations);
                }
                Stmt::Map(_) => {}
            }
        }
    }

    fn polynomial(&self, count: &Count) -> Polynomial {
        let sizes = self.plan.sizes.polynomials();
        // The conversion saturates.
        let factor = Polynomial::from(1usize).scaled(count.factor.round() as i64);
        count.sizes.iter().fold(factor, |product, size| product.times(&sizes[size.index()]))
    }
}

/// Two operations for each element of the tile and each step of the reduction.
fn operations(call: &TileCall) -> Count {
    let tile = &call.tile;
    let mut open = call.counts.iter();
    tile.reduction.iter().fold(Count::fixed(2 * tile.rows * tile.columns), |operations, reduction| {
        let extent = reduction.count.map(Extent::Fixed).or_else(|| open.next().copied());
        let steps = extent.map_or(Count::number(1.0), |extent| Count::of(extent, &Count::number(1.0)));
        operations.times(&steps)
    })
}

#[cfg(test)]
mod tests {
    use super::products;
    use crate::graph::Graph;
    use crate::plan::{Convolution, PlanOptions, plan};
    use crate::target::Target;

    /// The operations of the main kernel of a convolution of 9×9 pixels, for one item.
    fn of_convolution(convolution: Convolution) -> u64 {
        let text = r#"graph net {
            %0 = input {name = "x", type = "f32[N, 8, 9, 9]"}
            %1 = parameter {name = "w", shape = "[33, 8, 3, 3]", init = "xavier_uniform"}
            %2 = conv(%0, %1) {kernel_size = [3, 3], stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1}
            output "y" = %2
        }"#;
        let graph: Graph = text.parse().unwrap();
        let options = PlanOptions::default().convolution(convolution);
        let plan = plan(&graph, &options, &Target::x86_64(512)).unwrap();
        let counts = plan.run.iter().filter_map(|kernel| products(kernel, &plan));
        counts.map(|cost| cost.at(1)).max().unwrap()
    }

    #[test]
    fn direct_convolution_performs_what_the_definition_says() {
        assert_eq!(of_convolution(Convolution::Direct), 2 * 81 * 33 * 8 * 9);
    }

    #[test]
    fn winograd_performs_fewer() {
        // Nine tiles of 3×3 results or fewer, padded to 4×4, with 36 products each.
        let [direct, winograd] = [Convolution::Direct, Convolution::Winograd(4)].map(of_convolution);
        assert_eq!(winograd, 2 * 9 * 36 * 33 * 8);
        assert!(winograd * 2 < direct);
    }
}
