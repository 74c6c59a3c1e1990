//! Invariant 13: what cannot be applied is parked and told of; the others go on; after the mend it is applied.

use natterjack_testkit::{Site, eventually};

use crate::world::world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_event_is_parked_and_told_of_and_a_rebuild_applies_it_after_the_mend() {
    let world = world(Site::builder().start().await).await;
    let projector = world.site.projector_process().await;
    world.site.projected().await;
    let admin = world.site.admin().await.unwrap();
    let refuse = "ALTER TABLE read.messages ADD CONSTRAINT fair CHECK (body <> 'poison')";
    admin.batch_execute(refuse).await.unwrap();
    let seqs = world.say(&["before", "poison", "after"]).await;
    world.site.projected().await;

    let bodies = async || {
        let sql = "SELECT body FROM read.messages ORDER BY seq";
        let rows = admin.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    assert_eq!(bodies().await, ["before", "after"]);
    let parked = admin.query_one("SELECT seq, error FROM read.parked", &[]).await.unwrap();
    assert_eq!(parked.get::<_, i64>(0), i64::try_from(seqs[1]).unwrap());
    assert!(parked.get::<_, String>(1).contains("23514"));
    let metrics = eventually("the metrics", async || {
        let url = format!("{}/metrics", projector.ops_url());
        world.site.http.get(url).send().await.ok()?.text().await.ok()
    })
    .await;
    assert!(metrics.contains("natterjack_projector_parked_total{stream=\"0\"} 1"), "{metrics}");
    assert!(metrics.contains("# HELP natterjack_projector_parked_total"));
    let (good, words) = world.site.natterjack(&["doctor"]).await;
    assert!(words.contains("1 event(s) are parked"), "{good} {words}");

    admin.batch_execute("ALTER TABLE read.messages DROP CONSTRAINT fair").await.unwrap();
    let (good, words) = world.site.natterjack(&["rebuild"]).await;
    assert!(good, "{words}");
    assert_eq!(bodies().await, ["before", "poison", "after"]);
    let (_, words) = world.site.natterjack(&["doctor"]).await;
    assert!(!words.contains("are parked"), "{words}");
    world.say(&["and on"]).await;
    world.site.assert_replay_is_equal().await;
}
