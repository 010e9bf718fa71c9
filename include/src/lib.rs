//! Includes networks that a build script has compiled with the crate `windlass-build`.
//!
//! A program has `windlass-include` in `[dependencies]`, and `windlass-build`, which has the compiler, in `[build-dependencies]`. This
//! crate is one macro; it has no dependencies, and nothing of it is in the program.
//!
//! ```text
//! windlass_include::include_network!(digits);
//!
//! static NETWORK: Mutex<digits::Network> = Mutex::new(digits::Network::new());
//!
//! fn scores(image: &[f32; 784]) -> Result<[f32; 10], digits::Refused> {
//!     let mut scores = [0.0; 10];
//!     NETWORK.lock().unwrap_or_else(PoisonError::into_inner).run(image, &mut scores)?;
//!     Ok(scores)
//! }
//! ```

#![no_std]

/// Includes the public module of a network, by its name: that of the network in lower case, or what `Build::name` has set.
///
/// The module needs neither the standard library nor an allocator. Its functions have the types of the network's inputs and
/// outputs:
///
/// - `run(arena, batch, inputs…, outputs…) -> Result<(), Refused>` on memory of the caller, slices of `f32` or, for indices,
///   `i32`, whose lengths are checked; `arena_bytes(batch)` is the memory it takes;
/// - with `Build::sizes`, the type `Network` with the memory of its runs: `Network::new()` is a constant, and
///   `run(&mut self, inputs…, outputs…)` takes arrays, so that a wrong length is an error of types;
/// - with `Build::train`, `init`, `step` and `pack`;
/// - `vector_bits()`: the vectors that this CPU runs it with.
///
/// Networks in one program have different names. The program does not compile if its build script has compiled no
/// network of that name, or if it has no build script:
///
/// ```compile_fail
/// windlass_include::include_network!(digits);
/// ```
#[macro_export]
macro_rules! include_network {
    ($name:ident) => {
        ::core::include!(::core::concat!(
            ::core::env!(
                "OUT_DIR",
                "include_network! needs a build script, which compiles the network with windlass_build::Build"
            ),
            "/",
            ::core::stringify!($name),
            ".rs"
        ));
    };
}
