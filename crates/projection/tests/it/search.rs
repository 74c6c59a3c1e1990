//! What is searched, without Postgres.

use std::collections::BTreeMap;

use natterjack_domain::search::Tag;
use natterjack_projection::{
    Entry,
    search::{Changes, Key, Known, Row, fold, keys},
};
use proptest::prelude::*;

use crate::script::{self, Step, edited, entries, mid, posted, room, user};

type Rows = BTreeMap<Key, Row>;

/// As a transaction does it: what rows say is written, but not read.
fn apply(rows: &mut Rows, batch: &[Entry]) -> Changes {
    let keys = keys(batch);
    let known = rows
        .iter()
        .filter(|(key, _)| keys.contains(key))
        .map(|(key, row)| (*key, Row { text: String::new(), terms: [].into(), ..row.clone() }));
    let changes = fold(batch, known.collect::<Known>());
    rows.extend(changes.rows.clone());
    changes
}

fn rows_of(steps: &[Step]) -> Rows {
    let mut rows = Rows::new();
    apply(&mut rows, &entries(steps));
    rows
}

#[test]
fn a_message_is_found_by_its_words_its_author_and_its_room() {
    let rows = rows_of(&[posted(0, 1, 2, "To 北京, see https://x.org")]);
    let row = &rows[&(room(0), mid(2))];
    assert_eq!(row.text, " to 北京 see https x org ");
    let tags = [Tag::Room(room(0)), Tag::Author(user(1)), Tag::Link].map(|tag| tag.to_string());
    let words = ["to", "北京", "京", "see", "https", "x", "org"].map(str::to_owned);
    assert_eq!(row.terms, tags.into_iter().chain(words).collect());
}

#[test]
fn only_what_counts_changes_what_is_found() {
    let recalled = |by| Step::Recalled { room: 0, by, mid: 2 };
    let first = posted(0, 1, 2, "one");
    let text = |steps: &[Step]| rows_of(steps)[&(room(0), mid(2))].text.clone();
    assert_eq!(text(&[first.clone(), edited(0, 1, 2, "two")]), " two ");
    assert_eq!(text(&[first.clone(), edited(0, 3, 2, "two")]), " one ");
    assert_eq!(text(&[first.clone(), posted(0, 1, 2, "two")]), " one ");
    assert_eq!(text(&[first.clone(), recalled(3)]), " one ");
    let gone = rows_of(&[first.clone(), recalled(1), edited(0, 1, 2, "two"), first.clone()]);
    let gone = &gone[&(room(0), mid(2))];
    assert!(gone.gone && gone.text.is_empty() && gone.terms.is_empty(), "{gone:?}");
    assert!(rows_of(&[edited(0, 1, 2, "two"), recalled(1)]).is_empty());
}

proptest! {
    #[test]
    fn batches_cut_anywhere_give_the_same(steps in script::steps(40), cuts in prop::collection::vec(1usize..9, 40)) {
        let entries = entries(&steps);
        let (mut whole, mut parts) = (Rows::new(), Rows::new());
        let parked = apply(&mut whole, &entries).parked;
        let (mut rest, mut parked_in_parts) = (&entries[..], vec![]);
        for cut in cuts {
            let (batch, after) = rest.split_at(cut.min(rest.len()));
            parked_in_parts.extend(apply(&mut parts, batch).parked);
            rest = after;
        }
        parked_in_parts.extend(apply(&mut parts, rest).parked);
        prop_assert_eq!(whole, parts);
        prop_assert_eq!(parked, parked_in_parts);
    }
}
