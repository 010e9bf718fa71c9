//! Chained setters of option structs, such as `Options::default().threads(1)`: one line for each field.

/// Writes setters. The line `name: Type;` sets a field of that name; `name: Type = value;` sets it to an expression of
/// the argument; `[path.of.a.struct] name: Type;` sets a field of a struct within this one.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($($(#[$doc:meta])* $([$($path:ident).+])? $field:ident: $type:ty $(= $value:expr)?;)*) => {$(
        #[doc = concat!("Sets `", $($(stringify!($path), ".",)+)? stringify!($field), "`.")]
        ///
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$($($path.)+)?$field = $crate::setters!(@value $field $($value)?);
            self
        }
    )*};
    (@value $field:ident) => { $field };
    (@value $field:ident $value:expr) => { $value };
}
