// SPDX-License-Identifier: Apache-2.0
//! Names of an enum's variants, and the list of all of them, from one table.

/// Makes from one table a method that names each variant, and the constant with all those names. A variant that is left
/// out does not compile, and no name is missing in the list. Names behind `unlisted` are not in the list; those behind
/// `also` are, and another method gives them.
///
/// ```
/// enum Reason { Full, Empty(u8), Gone }
/// impl Reason {
///     cluster::named! {
///         /// A short name.
///         pub name,
///         /// All of them, but that of `Gone`.
///         pub NAMES,
///         "full": Self::Full,
///         "empty": Self::Empty(_),
///         unlisted Self::Gone => "gone",
///     }
/// }
/// assert_eq!(Reason::NAMES, ["full", "empty"]);
/// assert_eq!((Reason::Full.name(), Reason::Empty(1).name(), Reason::Gone.name()), ("full", "empty", "gone"));
/// ```
#[macro_export]
macro_rules! named {
    (
        $(#[$of_method:meta])* pub $method:ident,
        $(#[$of_list:meta])* pub $list:ident,
        $($name:literal: $($variant:pat_param)|+,)+
        $(also $more:expr,)*
        $(unlisted $other:pat_param => $value:expr,)*
    ) => {
        $(#[$of_list])*
        pub const $list: [&'static str; [$($name,)+ $($more,)*].len()] =
            [$($name,)+ $($more,)*];

        $(#[$of_method])*
        #[must_use]
        pub fn $method(&self) -> &'static str {
            match self {
                $($($variant)|+ => $name,)+
                $($other => $value,)*
            }
        }
    };
}
