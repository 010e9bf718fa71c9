//! A differential fuzzer: random valid graphs over all operators run in the interpreter and as compiled code, and are
//! compared within bounds that each operator declares. `TOLERANCES.md` justifies the bounds.
//!
//! ```
//! use windlass_fuzz::engines::{check, setups};
//! use windlass_fuzz::generate::Generator;
//!
//! let generator = Generator::new(1, vec![]);
//! let mut numbers = generator.numbers(0);
//! let case = generator.case(0, &mut numbers);
//! let setup = setups::draw(&case, &mut numbers);
//! assert!(check(&case, &[setup]).is_ok());
//! ```

pub mod campaign;
pub mod case;
pub mod corpus;
pub mod engines;
pub mod generate;
pub mod judge;
pub mod shrink;
pub mod values;
