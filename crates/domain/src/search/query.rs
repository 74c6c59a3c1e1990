//! What a person looks for.

use std::ops::Range;

use super::folded::{Folded, LEXEME_MAX_CHARS, beginning, is_dense, pairs};

/// A query may have so many characters.
pub const QUERY_MAX_CHARS: usize = 200;
/// A query may have so many terms, those that are not wanted among them.
pub const TERMS_MAX: usize = 10;
/// A last word that is shorter is a whole word: too many begin with one letter.
pub const PREFIX_MIN_CHARS: usize = 2;
/// Of a message that was found, about so many characters are shown.
const EXCERPT_CHARS: usize = 160;
/// So many of them before the first that was looked for.
const LEAD_CHARS: usize = 40;

/// A query, read: all that is wanted, and nothing that is not, has to be in a text.
///
/// Terms are separated by spaces; `"several words"` are one term, `-term` is not wanted. Words are found whole, the last one
/// also by how it begins, unless it is quoted; parts of runs without spaces are found anywhere in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub wanted: Vec<Needle>,
    pub unwanted: Vec<Needle>,
}

/// A part of a folded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(String);

/// What the index is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexeme<'a> {
    pub text: &'a str,
    /// Whether longer ones that begin like this are meant too.
    pub is_prefix: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    #[error("a search has at most {QUERY_MAX_CHARS} characters")]
    TooLong,
    #[error("a search has at most {TERMS_MAX} terms")]
    TooManyTerms,
}

/// A piece of a text, and whether it is what was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    pub text: String,
    pub hit: bool,
}

impl Query {
    pub fn parse(text: &str) -> Result<Self, InvalidQuery> {
        if text.chars().count() > QUERY_MAX_CHARS {
            return Err(InvalidQuery::TooLong);
        }
        let mut query = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (term, after) = Term::take(rest);
            rest = after.trim_start();
            let is_last = rest.is_empty() && !term.quoted && !term.unwanted;
            let Some(needle) = Needle::of(term.text, is_last) else { continue };
            let needles = if term.unwanted { &mut query.unwanted } else { &mut query.wanted };
            if !needles.contains(&needle) {
                needles.push(needle);
            }
        }
        if query.wanted.len() + query.unwanted.len() > TERMS_MAX {
            return Err(InvalidQuery::TooManyTerms);
        }
        Ok(query)
    }

    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }

    pub fn matches(&self, text: &Folded) -> bool {
        let holds = |needle: &Needle| text.as_str().contains(&needle.0);
        self.wanted.iter().all(holds) && !self.unwanted.iter().any(holds)
    }

    /// All that is wanted in its order, where that is more than one term: a text that holds them so is a better one.
    pub fn phrase(&self) -> Option<String> {
        let joined = || self.wanted.iter().map(|needle| needle.0.trim()).collect::<Vec<_>>().join(" ");
        (self.wanted.len() > 1).then(joined)
    }

    /// The part of `body` around what was looked for, cut into pieces; `None` if the query does not match.
    pub fn excerpt(&self, body: &str) -> Option<Vec<Fragment>> {
        let folded = Folded::of(body);
        if !self.matches(&folded) {
            return None;
        }
        let mut hits: Vec<_> = self.wanted.iter().flat_map(|needle| needle.find(&folded)).collect();
        hits.sort_unstable_by_key(|hit| (hit.start, hit.end));
        Some(cut(body, &hits))
    }
}

/// A term as it was typed.
struct Term<'a> {
    text: &'a str,
    quoted: bool,
    unwanted: bool,
}

impl<'a> Term<'a> {
    /// The first term of a text that does not begin with a space, and what follows.
    fn take(text: &'a str) -> (Self, &'a str) {
        const QUOTES: [char; 5] = ['"', '“', '”', '„', '＂'];
        let (unwanted, bare) = match text.strip_prefix('-') {
            Some(bare) if !bare.is_empty() && !bare.starts_with(char::is_whitespace) => (true, bare),
            _ => (false, text),
        };
        let inner = bare.strip_prefix(QUOTES);
        let quoted = inner.is_some();
        if let Some(inner) = inner {
            let (text, rest) = inner.split_once(QUOTES).unwrap_or((inner, ""));
            return (Self { text, quoted, unwanted }, rest);
        }
        let end = bare.find(char::is_whitespace).unwrap_or(bare.len());
        (Self { text: &bare[..end], quoted, unwanted }, &bare[end..])
    }
}

impl Needle {
    /// `None` if nothing in the term can be looked for.
    fn of(term: &str, may_go_on: bool) -> Option<Self> {
        let folded = Folded::of(term);
        let first = folded.tokens().next()?;
        let last = folded.tokens().last()?;
        let text = folded.as_str();
        let text = if is_dense(first) { text.trim_start() } else { text };
        let goes_on = is_dense(last) || may_go_on && last.chars().count() >= PREFIX_MIN_CHARS;
        Some(Self(if goes_on { text.trim_end() } else { text }.to_owned()))
    }

    /// What a folded text has to hold.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every text with [`Self::lexemes`] holds it.
    pub fn is_decided_by_index(&self) -> bool {
        let mut tokens = self.0.split_ascii_whitespace();
        let (Some(token), None) = (tokens.next(), tokens.next()) else { return false };
        let chars = token.chars().count();
        if is_dense(token) {
            // A run of two is a pair, wherever it stands; but not where it has to end there.
            chars <= 2 && self.0 == token
        } else {
            chars < LEXEME_MAX_CHARS
        }
    }

    /// Those that every text which holds it has.
    pub fn lexemes(&self) -> Vec<Lexeme<'_>> {
        let whole = |text| Lexeme { text, is_prefix: false };
        let tokens: Vec<_> = self.0.split_ascii_whitespace().collect();
        let mut lexemes = vec![];
        for (index, token) in tokens.iter().enumerate() {
            let goes_on = index + 1 == tokens.len() && !self.0.ends_with(' ');
            if !is_dense(token) {
                let text = beginning(token);
                let is_prefix = goes_on && text.chars().count() < LEXEME_MAX_CHARS;
                lexemes.push(Lexeme { text, is_prefix });
            } else if token.chars().nth(1).is_none() {
                lexemes.push(Lexeme { text: token, is_prefix: true });
            } else {
                lexemes.extend(pairs(token).map(whole));
            }
        }
        lexemes
    }

    /// Where in the text that was folded it stands.
    fn find(&self, text: &Folded) -> Vec<Range<usize>> {
        let spaces = self.0.len() - self.0.trim_start().len();
        let inner = self.0.trim();
        let mut found = vec![];
        let mut from = 0;
        while let Some(at) = text.as_str()[from..].find(&self.0) {
            let start = from + at + spaces;
            found.push(text.origin(start..start + inner.len()));
            // The space after one is the space before the next.
            from = start + inner.len();
        }
        found
    }
}

/// The pieces of an excerpt around the first of `hits`, which are in order and may overlap.
fn cut(body: &str, hits: &[Range<usize>]) -> Vec<Fragment> {
    let first = hits.first().map_or(0, |hit| hit.start);
    let back = |chars: usize| body[..first].char_indices().rev().nth(chars).map(|(at, c)| at + c.len_utf8());
    let start = back(LEAD_CHARS).unwrap_or(0);
    let end = body[start..].char_indices().nth(EXCERPT_CHARS).map_or(body.len(), |(at, _)| start + at);
    let end = end.max(hits.first().map_or(0, |hit| hit.end));
    let mut fragments = vec![];
    let mut push = |text: &str, hit| {
        if !text.is_empty() {
            fragments.push(Fragment { text: text.to_owned(), hit });
        }
    };
    if start > 0 {
        push("…", false);
    }
    let mut at = start;
    let mut hits = hits.iter().filter(|hit| hit.end <= end).cloned().peekable();
    while let Some(mut hit) = hits.next() {
        while let Some(next) = hits.next_if(|next| next.start <= hit.end) {
            hit.end = hit.end.max(next.end);
        }
        push(&body[at..hit.start.max(at)], false);
        push(&body[hit.start.max(at)..hit.end], true);
        at = hit.end;
    }
    push(&body[at..end], false);
    if end < body.len() {
        push("…", false);
    }
    fragments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn queries_and_what_they_want() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("", &[], &[]),
            ("  ... -- - ", &[], &[]),
            ("Deploy serv", &[" deploy ", " serv"], &[]),
            ("deploy x", &[" deploy ", " x "], &[]),
            ("\"deploy the serv\"", &[" deploy the serv "], &[]),
            ("\"open end", &[" open end "], &[]),
            ("“curly quotes” x1", &[" curly quotes ", " x1"], &[]),
            ("one -two -\"three four\"", &[" one "], &[" two ", " three four "]),
            ("one -two", &[" one "], &[" two "]),
            ("snake_case", &[" snake case"], &[]),
            ("北京", &["北京"], &[]),
            ("用Rust写", &["用 rust 写"], &[]),
            ("我 -你", &["我"], &["你"]),
            ("c++ C", &[" c "], &[]),
            ("🚀", &["🚀"], &[]),
            ("　全角　スペース", &["全角", "スペース"], &[]),
        ];
        for (text, wanted, unwanted) in cases {
            let query = parse(text);
            let texts = |needles: &[Needle]| needles.iter().map(|n| n.0.clone()).collect::<Vec<_>>();
            assert_eq!(texts(&query.wanted), *wanted, "{text:?}");
            assert_eq!(texts(&query.unwanted), *unwanted, "{text:?}");
        }
    }

    #[test]
    fn a_query_has_bounds() {
        let words = |n: usize| (0..n).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(Query::parse(&words(TERMS_MAX)).unwrap().wanted.len(), TERMS_MAX);
        assert_eq!(Query::parse(&words(TERMS_MAX + 1)), Err(InvalidQuery::TooManyTerms));
        assert_eq!(Query::parse(&format!("-a {}", words(TERMS_MAX))), Err(InvalidQuery::TooManyTerms));
        assert!(Query::parse(&"字".repeat(QUERY_MAX_CHARS)).is_ok());
        assert_eq!(Query::parse(&"字".repeat(QUERY_MAX_CHARS + 1)), Err(InvalidQuery::TooLong));
    }

    #[test]
    fn what_is_found_and_what_is_not() {
        let cases = [
            ("We deploy the server tonight", "deploy serv", true),
            ("We deploy the server tonight", "serv deploy", false),
            ("We deploy the server tonight", "\"deploy serv\"", false),
            ("We deploy the server tonight", "\"deploy the server\"", true),
            ("We deploy the server tonight", "\"the deploy\"", false),
            ("We deploy the server tonight", "deploy -server", false),
            ("We deploy the server tonight", "deploy -serv", true),
            ("We deploy the server tonight", "eploy", false),
            ("我们明天去北京开会", "北京", true),
            ("我们明天去北京开会", "去北京", true),
            ("我们明天去北京开会", "会", true),
            ("我们明天去北京开会", "我", true),
            ("北上, 上京, 京北", "北京", false),
            ("北京 上海", "北京上海", false),
            ("去北京", "\"北京\"", true),
            ("東京タワーに行く", "タワー", true),
            ("ﾀﾜｰ", "タワー", true),
            ("회의는 서울에서", "서울", true),
            ("Ｆｕｌｌ", "full", true),
            ("cafe\u{301}", "CAFÉ", true),
            ("cafe", "café", false),
            ("用Rust写服务", "rust", true),
            ("用Rust写服务", "用rust写", true),
            ("see https://example.org/a?b=1", "example.org/a", true),
            ("let snake_case = 1;", "snake_case", true),
            ("👍🏽 ok", "👍", true),
            ("party 🎉", "🎉", true),
            ("ΟΔΟΣ", "οδος", true),
        ];
        for (text, query, expected) in cases {
            assert_eq!(parse(query).matches(&Folded::of(text)), expected, "{query:?} in {text:?}");
        }
    }

    fn marked(query: &str, text: &str) -> String {
        let fragments = parse(query).excerpt(text).unwrap();
        fragments.iter().map(|f| if f.hit { format!("[{}]", f.text) } else { f.text.clone() }).collect()
    }

    #[test]
    fn what_was_looked_for_is_marked() {
        assert_eq!(marked("the serv", "The the SERVER. the"), "[The] [the] [SERV]ER. [the]");
        assert_eq!(marked("北京", "去北京，北京！"), "去[北京]，[北京]！");
        assert_eq!(marked("rust 用rust", "用Rust写"), "[用Rust]写");
        assert_eq!(marked("cafe\u{301}s", "two Cafés"), "two [Cafés]");
        assert_eq!(marked("-no", "yes"), "yes");
        let long = format!("{} needle {}", "before ".repeat(30), "after ".repeat(60));
        let shown = marked("needle", &long);
        assert!(shown.starts_with('…') && shown.contains(" [needle] ") && shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() <= EXCERPT_CHARS + 4, "{shown}");
        assert_eq!(parse("absent").excerpt("text"), None);
    }

    /// Whether the index would give a text.
    fn in_index(text: &Folded, needle: &Needle) -> bool {
        let lexemes = text.lexemes();
        let has = |lexeme: &Lexeme<'_>| {
            if lexeme.is_prefix {
                lexemes.iter().any(|l| l.starts_with(lexeme.text))
            } else {
                lexemes.contains(lexeme.text)
            }
        };
        needle.lexemes().iter().all(has)
    }

    /// Of several scripts, with what is between words.
    fn texts() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-cA-C]{1,5}",
            "[北京上海明天]{1,5}",
            "[かなカナｶﾅﾞ]{1,4}",
            "[서울에한글]{1,3}",
            "[ΑΣασς]{1,3}",
            Just("e\u{301}".to_owned()),
            Just("👩‍💻".to_owned()),
            "[ .,_/\u{200d}\u{301}-]{1,2}",
            ".{0,3}",
            Just("long".repeat(30)),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_index_gives_every_text_that_holds_what_is_looked_for(text in texts(), query in texts()) {
            let folded = Folded::of(&text);
            if let Ok(query) = Query::parse(&query) {
                for needle in query.wanted.iter().chain(&query.unwanted) {
                    let holds = folded.as_str().contains(needle.as_str());
                    if holds || needle.is_decided_by_index() {
                        prop_assert_eq!(in_index(&folded, needle), holds, "{:?} in {:?}", needle, folded);
                    }
                }
            }
        }

        /// Whole words, the beginning of the last one, and any part of a run.
        #[test]
        fn every_part_of_a_text_that_the_rules_promise_is_found(
            text in texts(), from in any::<prop::sample::Index>(), len in 1usize..4, cut in any::<prop::sample::Index>(),
        ) {
            let folded = Folded::of(&text);
            let tokens: Vec<_> = folded.tokens().collect();
            prop_assume!(!tokens.is_empty());
            let from = from.index(tokens.len());
            let part = &tokens[from..(from + len).min(tokens.len())];
            let mut words: Vec<String> = part.iter().map(|token| (*token).to_owned()).collect();
            let last = words.pop().unwrap();
            let chars: Vec<char> = last.chars().collect();
            let kept = (1 + cut.index(chars.len())).max(PREFIX_MIN_CHARS.min(chars.len()));
            let kept: String = if is_dense(&last) && words.is_empty() {
                chars[chars.len() - kept..].iter().collect()
            } else {
                chars[..kept].iter().collect()
            };
            words.push(kept);
            let query = words.join(" ");
            prop_assume!(query.chars().count() <= QUERY_MAX_CHARS);
            let query = parse(&query);
            // A mark by itself is nothing.
            prop_assume!(!query.wanted.is_empty());
            prop_assert!(query.matches(&folded), "{:?} in {:?}", query, folded);
            prop_assert!(query.wanted.iter().all(|needle| in_index(&folded, needle)));
            let shown = query.excerpt(&text);
            prop_assert!(shown.is_some_and(|shown| shown.iter().any(|fragment| fragment.hit)));
        }

        #[test]
        fn folding_once_is_enough(text in texts()) {
            let folded = Folded::of(&text);
            let again = Folded::of(folded.as_str());
            prop_assert_eq!(again.as_str(), folded.as_str());
        }
    }
}
