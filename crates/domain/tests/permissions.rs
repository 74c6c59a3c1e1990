//! `docs/permissions.md` is the table of the code.
//!
//! After a change run `UPDATE_GENERATED=1 cargo test -p natterjack-domain --test permissions` and commit the file.

use std::{fmt::Write, fs};

use natterjack_domain::{Action, Role, permission::Kind};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/permissions.md");

const HEAD: &str = "# Who may do what in a room

Made from `crates/domain/src/permission.rs` by the test `permissions` of its crate; do not edit.

A room has one owner and any number of admins, moderators and members. In direct rooms (of two people, or of a few) everybody
is a member: who is in one stays as it was made, and nobody has a rank.

- *muted*: whether one who is muted may. Nobody mutes the owner.
- *read-only*: whether those below a moderator may in a read-only room.
- *archived*: whether it can be done in an archived room.

Nobody acts on one whose rank is not below their own, and nobody gives a role that is not below their own; but one may step
down oneself, and the owner hands the room over to any member, and is an admin then. The owner leaves by handing over
or deleting the room. Who is banned cannot come in; who has left stays muted. Who is not a member may do nothing, and
learns of a private room only that it is not found.

";

fn document() -> String {
    let mut out = String::from(HEAD);
    let row =
        |out: &mut String, cells: &[&str]| writeln!(out, "| {} |", cells.join(" | ")).expect("a text grows");
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let heads = [&["to"][..], &roles, &["direct", "muted", "read-only", "archived"]].concat();
    row(&mut out, &heads);
    row(&mut out, &vec!["---"; heads.len()]);
    for action in Action::ALL {
        let word = |may: bool| if may { "yes" } else { "–" };
        let mut cells = vec![action.describe()];
        cells.extend(Role::ALL.map(|role| word(action.is_for(role, Kind::Room))));
        let direct = [Kind::Direct, Kind::GroupDirect].map(|kind| action.is_for(Role::Member, kind));
        assert_eq!(direct[0], direct[1], "one column tells both");
        let rule = action.rule();
        cells.extend([direct[0], rule.muted, rule.read_only, rule.archived].map(word));
        row(&mut out, &cells);
    }
    out
}

#[test]
fn the_document_is_the_table() {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(PATH, document()).expect("the document can be written");
    }
    assert_eq!(fs::read_to_string(PATH).unwrap_or_default(), document(), "see the head of this test");
}
