//! What a search finds.
//!
//! A text is *folded*: compatibility forms, letter case and width are made one, and what is left are its *tokens*. A token is
//! a word, or a run of characters that are written without spaces (Chinese, Japanese, Korean, Thai, emoji). A folded text is its
//! tokens with a space before, between and after them; to search is to look for one folded text within another.
//!
//! An index holds a text's [`Folded::lexemes`]: each word, and of each run every two neighbours. Those of what is looked for
//! ([`Needle::lexemes`]) are among those of every text that holds it, so that the index gives all that may match; which of
//! them do is decided by comparing folded texts.
//!
//! Start with [`Folded`]; [`Query`] is what a person typed.

mod folded;
mod query;
mod tag;

pub use self::{
    folded::{Folded, LEXEME_MAX_CHARS},
    query::{Fragment, InvalidQuery, Lexeme, Needle, PREFIX_MIN_CHARS, QUERY_MAX_CHARS, Query, TERMS_MAX},
    tag::Tag,
};
