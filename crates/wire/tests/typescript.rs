//! Keeps `web/src/protocol/wire.gen.ts` equal to the frames that this crate declares.
//!
//! After a change run `UPDATE_GENERATED=1 cargo test -p natterjack-wire --test typescript` and commit the file.

use std::{any::TypeId, collections::BTreeMap, collections::HashSet, fs, path::Path};

use natterjack_wire::{ClientFrame, ErrorCode, ServerFrame};
use ts_rs::{Config, TS, TypeVisitor};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/src/protocol/wire.gen.ts");
const HEADER: &str = "\
// Made from crates/wire by its test `typescript`; do not edit.
// Again: UPDATE_GENERATED=1 cargo test -p natterjack-wire --test typescript
";

/// The declarations of all types that were met, by name.
struct Declarations {
    config: Config,
    seen: HashSet<TypeId>,
    by_name: BTreeMap<String, String>,
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if !self.seen.insert(TypeId::of::<T>()) {
            return;
        }
        // Types of the language itself (`string`) have no declaration.
        if T::output_path().is_some() {
            let docs = T::docs().unwrap_or_default();
            let declaration = format!("{docs}export {}\n", T::decl(&self.config));
            self.by_name.insert(T::ident(&self.config), declaration);
        }
        T::visit_dependencies(self);
    }
}

fn generate() -> String {
    // Every integer of the protocol stays below 2^53.
    let config = Config::new().with_large_int("number");
    let mut declarations = Declarations { config, seen: HashSet::new(), by_name: BTreeMap::new() };
    declarations.visit::<ClientFrame>();
    declarations.visit::<ServerFrame>();
    let mut out = String::from(HEADER);
    for declaration in declarations.by_name.values() {
        out.push('\n');
        out.push_str(declaration);
    }
    out.push_str(&error_codes());
    out
}

fn error_codes() -> String {
    let lines = ErrorCode::ALL.iter().map(|code| format!("  {code:?}: {},\n", code.number()));
    let lines: String = lines.collect();
    format!(
        "\n/** Stable numbers of errors, see docs/errors.md. */\nexport const ErrorCode = {{\n{lines}}} as const;\n"
    )
}

#[test]
fn the_committed_types_are_those_of_the_frames() {
    let generated = generate();
    let path = Path::new(PATH);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(path, &generated).expect("the web client's folder is there");
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "{PATH} is out of date; run this test with UPDATE_GENERATED=1");
}
