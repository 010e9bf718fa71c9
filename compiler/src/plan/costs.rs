//! The machine costs that the planner's time models use. The models are defined with their algorithms;
//! [`RegisterTile`](super::RegisterTile) has the model of products.

use serde::{Deserialize, Serialize};

/// The costs of operations on a core. Times are in sixteenths of a cycle.
///
/// The default describes a common server, so plans are the same on every machine unless measured costs replace it.
///
/// ```
/// use windlass::{Costs, PlanOptions};
/// // A core that multiplies vectors of 512 bits on one unit, not on two.
/// let mut costs = Costs::default();
/// costs.multiply_add.bits_512 = 16;
/// let options = PlanOptions::default().costs(costs);
/// assert_ne!(options, PlanOptions::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Costs {
    /// The throughput of vector multiply-adds: 16 divided by the number that start per cycle.
    pub multiply_add: PerWidth,
    /// The latency of a multiply-add, until another can use its sum.
    pub latency: u16,
    /// The throughput of loads: 16 divided by the number that start per cycle.
    pub load: u16,
    /// The extra time of a broadcast load, even in loops bound by multiplication.
    pub broadcast: u16,
    /// The extra time of a vector load, even in such loops; it comes from further away than a broadcast.
    pub vector: u16,
    /// A cache line of 64 bytes from the L2 cache.
    pub l2_hit_line: u16,
    /// A cache line of 64 bytes from behind the L2 cache.
    pub l2_miss_line: u16,
    /// Winograd's transforms, for each vector of inputs or results and each of their products.
    pub transform: u16,
    /// The transforms of a weight gradient, for each vector of inputs or gradients and each of their products:
    /// computing, writing and reading them again.
    pub gradient_transform: u16,
    /// Bytes of the L1 data cache.
    pub first_cache: usize,
    /// Bytes of the L2 cache.
    pub second_cache: usize,
    /// The clock frequency, to report times in microseconds. No plan depends on it.
    pub cycles_per_microsecond: u32,
}

/// A time for each vector width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PerWidth {
    /// Vectors of 128 bits.
    pub bits_128: u16,
    /// Vectors of 256 bits.
    pub bits_256: u16,
    /// Vectors of 512 bits.
    pub bits_512: u16,
}

impl PerWidth {
    /// The time of vectors with this many lanes.
    pub fn of_lanes(self, lanes: usize) -> u16 {
        match lanes {
            ..=4 => self.bits_128,
            5..=8 => self.bits_256,
            9.. => self.bits_512,
        }
    }
}

impl Default for Costs {
    /// Two fused multiply-add units with latency 4 at any width, two loads per cycle, 16 bytes per cycle from an L2
    /// cache of 1 MiB and 4 from behind it, at 3 GHz.
    fn default() -> Self {
        Costs {
            multiply_add: PerWidth { bits_128: 8, bits_256: 8, bits_512: 8 },
            latency: 64,
            load: 8,
            broadcast: 1,
            vector: 3,
            l2_hit_line: 64,
            l2_miss_line: 256,
            transform: 64,
            gradient_transform: 160,
            first_cache: 32 << 10,
            second_cache: 1 << 20,
            cycles_per_microsecond: 3000,
        }
    }
}

impl Costs {
    crate::setters! {
        multiply_add: PerWidth;
        latency: u16;
        load: u16;
        broadcast: u16;
        vector: u16;
        l2_hit_line: u16;
        l2_miss_line: u16;
        transform: u16;
        gradient_transform: u16;
        first_cache: usize;
        second_cache: usize;
        cycles_per_microsecond: u32;
    }

    /// Bytes of the rows that a work unit reads: with the weights of a block of channels, they stay in the L2 cache.
    pub fn panel_bytes(&self) -> usize {
        self.second_cache / 8 * 3
    }

    /// The time of reading this many bytes from the L2 cache.
    pub fn l2_hit(&self, bytes: usize) -> usize {
        bytes * usize::from(self.l2_hit_line) / 64
    }

    /// The time of reading this many bytes from behind the L2 cache.
    pub fn l2_miss(&self, bytes: usize) -> usize {
        bytes * usize::from(self.l2_miss_line) / 64
    }

    /// Whether this many bytes exceed the L2 cache.
    pub fn misses_l2(&self, bytes: usize) -> bool {
        bytes > self.second_cache
    }

    /// A time in microseconds.
    pub fn microseconds(&self, time: usize) -> f64 {
        time as f64 / (16.0 * f64::from(self.cycles_per_microsecond))
    }
}

#[cfg(test)]
mod tests {
    use super::Costs;

    #[test]
    fn bytes_take_longer_from_further_away() {
        let costs = Costs::default();
        assert_eq!((costs.l2_hit(1000), costs.l2_miss(1000)), (1000, 4000));
        assert!(costs.misses_l2((1 << 20) + 1) && !costs.misses_l2(1 << 20));
        assert_eq!(costs.panel_bytes(), 384 << 10);
        assert_eq!(costs.microseconds(48_000), 1.0);
    }

    #[test]
    fn facts_left_out_are_the_default_ones() {
        let costs: Costs = serde_json::from_str(r#"{"latency": 80}"#).unwrap();
        assert_eq!(costs, Costs::default().latency(80));
    }
}
