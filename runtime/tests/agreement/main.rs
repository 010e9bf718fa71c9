//! Compiled programs held against the interpreter. Every run happens several times, also between guard pages.

mod check;
mod convolution;
mod elements;
mod graphs;
mod guard;
mod numbers;
mod pooling;
mod run;
