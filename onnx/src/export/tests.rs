//! Exported models: what is written, and what cannot be.
