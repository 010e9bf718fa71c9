//! Compares compiled programs with the interpreter. Every program runs several times, including between guard pages.

mod bits;
mod check;
mod concats;
mod concurrent;
mod convolution;
mod dense;
mod edge;
mod elements;
mod ends;
mod fused_sgd;
mod graphs;
mod in_place;
mod layers;
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
