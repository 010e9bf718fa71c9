//! Compares compiled programs with the interpreter. Every run happens several times, also between guard pages.

mod bits;
mod check;
mod concurrent;
mod convolution;
mod descent;
mod edge;
mod elements;
mod ends;
mod graphs;
mod in_place;
mod joins;
mod math;
mod misaligned;
mod numbers;
mod pooled;
mod pooling;
mod programs;
mod random;
mod run;
mod settings;
mod special;
mod sums;
mod training;
mod winograd;
