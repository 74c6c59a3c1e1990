//! Texts as they are searched.

use std::{collections::BTreeSet, ops::Range};

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use unicode_segmentation::UnicodeSegmentation as _;

/// A longer word is indexed by its beginning: nobody types more, and indexes have a limit.
pub const LEXEME_MAX_CHARS: usize = 64;

/// A text as it is searched, and where in the text each part of it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    text: String,
    /// For each character of the text (as a reader sees it) that left something: where that begins in the folded text, and
    /// its place in the text.
    origins: Vec<(usize, Range<usize>)>,
}

/// What a character is to a search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Of a word.
    Letter,
    /// Of a run without spaces.
    Dense,
    /// Of whatever it follows.
    Mark,
    /// Nothing: it may stand within a word unseen.
    Unseen,
    /// What lies between tokens.
    Break,
}

impl Folded {
    pub fn of(text: &str) -> Self {
        let mut folded = Self { text: String::with_capacity(text.len() + 2), origins: vec![] };
        let mut token = Class::Break;
        let mut plain = String::new();
        for (start, character) in text.grapheme_indices(true) {
            fold(character, &mut plain);
            let before = folded.text.len();
            let mut begins = None;
            for c in plain.chars() {
                let class = class(c);
                match class {
                    Class::Unseen => continue,
                    Class::Mark if token == Class::Break => continue,
                    Class::Break => {
                        token = Class::Break;
                        continue;
                    }
                    Class::Letter | Class::Dense if class != token => {
                        folded.text.push(' ');
                        token = class;
                    }
                    Class::Letter | Class::Dense | Class::Mark => {}
                }
                begins.get_or_insert(folded.text.len());
                folded.text.push(c);
            }
            if folded.text.len() > before
                && let Some(begins) = begins
            {
                folded.origins.push((begins, start..start + character.len()));
            }
        }
        if !folded.text.is_empty() {
            folded.text.push(' ');
        }
        folded
    }

    /// The tokens, each with a space before and after it; empty if there are none.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn into_string(self) -> String {
        self.text
    }

    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.text.split_ascii_whitespace()
    }

    /// What an index holds of it: each word, its beginning if it is long; each two neighbours of a run, and its last
    /// character, so that every one of its characters begins something.
    pub fn lexemes(&self) -> BTreeSet<String> {
        let mut lexemes = BTreeSet::new();
        for token in self.tokens() {
            if is_dense(token) {
                lexemes.extend(pairs(token).map(str::to_owned));
                lexemes.extend(token.chars().next_back().map(String::from));
            } else {
                lexemes.insert(beginning(token).to_owned());
            }
        }
        lexemes
    }

    /// Where in the text a part of the folded text came from.
    pub(super) fn origin(&self, part: Range<usize>) -> Range<usize> {
        let first = self.origins.partition_point(|(begins, _)| *begins <= part.start).saturating_sub(1);
        let after = self.origins.partition_point(|(begins, _)| *begins < part.end);
        match (self.origins.get(first), after.checked_sub(1).and_then(|last| self.origins.get(last))) {
            (Some((_, first)), Some((_, last))) => first.start..last.end.max(first.end),
            _ => 0..0,
        }
    }
}

/// Whether a token is a run without spaces.
pub(super) fn is_dense(token: &str) -> bool {
    token.chars().next().is_some_and(|c| class(c) == Class::Dense)
}

/// Every two neighbours of a run.
pub(super) fn pairs(run: &str) -> impl Iterator<Item = &str> {
    let ends = run.char_indices().skip(1).map(|(at, c)| at + c.len_utf8());
    run.char_indices().zip(ends).map(|((start, _), end)| &run[start..end])
}

/// What the index holds of a word.
pub(super) fn beginning(word: &str) -> &str {
    word.char_indices().nth(LEXEME_MAX_CHARS).map_or(word, |(end, _)| &word[..end])
}

/// Makes what readers take for the same character the same. It looks at nothing around the character, so that a part of
/// a text is folded as it is within the text.
fn fold(character: &str, plain: &mut String) {
    plain.clear();
    if let [byte] = character.as_bytes() {
        plain.push(byte.to_ascii_lowercase().into());
        return;
    }
    let seen = character.chars().filter(|c| class(*c) != Class::Unseen);
    let lower = seen.nfkc().flat_map(char::to_lowercase);
    // The end of a Greek word has a sigma of its own.
    plain.extend(lower.map(|c| if c == 'ς' { 'σ' } else { c }).nfkc());
}

fn class(c: char) -> Class {
    match c {
        '0'..='9' | 'a'..='z' => Class::Letter,
        '\0'..='\x7f' => Class::Break,
        // Soft hyphens, joiners, directions, variants, tags, the Arabic lengthening.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{640}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}' => {
            Class::Unseen
        }
        _ if is_combining_mark(c) => Class::Mark,
        // The dot between words, and the double hyphen, of katakana.
        '\u{30fb}' | '\u{30a0}' => Class::Break,
        // Thai, Lao, Myanmar, Khmer.
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        // Hangul; kana, bopomofo; Han.
        | '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{3035}'
        | '\u{3041}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{1b000}'..='\u{1b16f}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
        // Emoji, and symbols that are used as such.
        | '\u{2300}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}' => {
            Class::Dense
        }
        _ if c.is_alphanumeric() => Class::Letter,
        _ => Class::Break,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_their_tokens() {
        let cases = [
            ("", ""),
            (" \t\n.,;!?", ""),
            ("The quick, brown FOX", " the quick brown fox "),
            ("don't re-do 3.14", " don t re do 3 14 "),
            ("我们明天去北京吧。", " 我们明天去北京吧 "),
            ("用Rust写服务器v2", " 用 rust 写服务器 v2 "),
            ("東京タワー・スカイツリー", " 東京タワー スカイツリー "),
            ("ﾄｳｷｮｳ ﾀﾞﾒ", " トウキョウ ダメ "),
            ("서울에서 만나요", " 서울에서 만나요 "),
            ("\u{1112}\u{1161}\u{11ab}글", " 한글 "),
            ("Ｆｕｌｌ Ｗｉｄｔｈ １２３", " full width 123 "),
            ("cafe\u{301} CAFÉ", " café café "),
            ("Straße ΟΔΟΣ", " straße οδοσ "),
            ("İstanbul", " i\u{307}stanbul "),
            ("ﬁne ½ ①", " fine 1 2 1 "),
            ("Привет, мир", " привет мир "),
            ("हिन्दी में", " हिन्दी में "),
            ("שלום مرحـــبا", " שלום مرحبا "),
            ("สวัสดีครับ", " สวัสดีครับ "),
            ("ship it 🚀🚀!", " ship it 🚀🚀 "),
            ("👩‍💻 ❤️ 👍🏽", " 👩💻 ❤ 👍🏽 "),
            ("fn main() { std::process::exit(1) }", " fn main std process exit 1 "),
            ("snake_case camelCase #tag @ada", " snake case camelcase tag ada "),
            ("https://example.org/a/b?q=1#x", " https example org a b q 1 x "),
            ("a\u{ad}b zero\u{200b}width", " ab zerowidth "),
            ("\u{301}alone", " alone "),
        ];
        for (text, expected) in cases {
            assert_eq!(Folded::of(text).as_str(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_the_index_holds() {
        let of = |text: &str| Folded::of(text).lexemes().into_iter().collect::<Vec<_>>();
        assert_eq!(of("Deploy to 生产环境 deploy"), ["deploy", "to", "产环", "境", "环境", "生产"]);
        assert_eq!(of("好"), ["好"]);
        assert_eq!(of("한국어"), ["국어", "어", "한국"]);
        assert_eq!(of("🚀"), ["🚀"]);
        assert_eq!(of(&"x".repeat(100)), ["x".repeat(LEXEME_MAX_CHARS)]);
        assert_eq!(of("..."), Vec::<String>::new());
    }

    #[test]
    fn a_part_is_found_where_it_came_from() {
        let text = "«Ｆｕｌｌ» e\u{301}te\u{301}, 用Rust写 👩‍💻!";
        let folded = Folded::of(text);
        for (part, origin) in [
            ("full", "Ｆｕｌｌ"),
            ("été", "e\u{301}te\u{301}"),
            ("rust", "Rust"),
            ("写", "写"),
            ("👩💻", "👩‍💻"),
            ("ul", "ｕｌ"),
        ] {
            let start = folded.as_str().find(part).unwrap();
            assert_eq!(&text[folded.origin(start..start + part.len())], origin);
        }
    }
}
