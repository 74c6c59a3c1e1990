use serde_json::Value;

use crate::installation::{directory, run};

#[tokio::test]
async fn bench_measures_and_writes_its_rows() {
    let dir = directory();
    let output = run(dir.path(), &["bench", "--quick", "--json", "rows.json", "cold"], &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Value = serde_json::from_slice(&std::fs::read(dir.path().join("rows.json")).unwrap()).unwrap();
    let row = &rows[0];
    assert_eq!((&row["name"], &row["unit"]), (&"cold.front".into(), &"ms".into()), "{rows}");
    assert!(row["value"].as_f64().is_some_and(|ms| ms > 0.0), "{row}");
    for field in ["bound", "ratio", "goal", "met"] {
        assert!(row.get(field).is_some_and(Value::is_null), "nothing is known of {field}: {row}");
    }
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("| cold.front |"), "{table}");
}

#[tokio::test]
async fn bench_knows_its_scenarios() {
    let dir = directory();
    let output = run(dir.path(), &["bench", "warm"], &[]).await;
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(r#"no scenario "warm""#) && said.contains("fanout"), "{said}");
}
