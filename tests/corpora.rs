//! The fuzz corpora, replayed: every input that once was interesting stays checked, without a fuzzer.

#[path = "../fuzz/drive.rs"]
mod drive;

use std::path::Path;

/// Runs `target` on each file of its corpus, on its halves, and on the file with each byte changed once.
fn replay(corpus: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let files: Vec<_> =
        std::fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for path in files {
        let data = std::fs::read(&path).expect("a file of the corpus");
        println!("{}", path.display()); // Shown if the target panics.
        target(&data);
        target(&data[..data.len() / 2]);
        for at in 0..data.len().min(300) {
            let mut changed = data.clone();
            changed[at] ^= 1 << (at % 8);
            target(&changed);
        }
    }
}

#[test]
fn requests_of_the_corpus_mean_the_same_however_they_are_cut() {
    replay("requests", drive::requests);
}

#[test]
fn lines_of_the_corpus_survive_quoting() {
    replay("inline", drive::inline);
}

#[test]
fn users_of_the_corpus_mean_the_same_after_they_were_saved() {
    replay("acl", drive::acl);
}

#[test]
fn patterns_of_the_corpus_match_by_the_book() {
    replay("pattern", drive::pattern);
}

#[test]
fn numbers_of_the_corpus_read_back_equal() {
    replay("numbers", drive::numbers);
}

#[test]
fn fields_of_the_corpus_agree_with_arithmetic_on_bits() {
    replay("bitfield", drive::bitfield);
}

#[test]
fn keys_of_the_corpus_are_arguments() {
    replay("keyspecs", drive::keyspecs);
}

#[test]
fn configuration_files_of_the_corpus_mean_the_same_after_they_were_rewritten() {
    replay("config", drive::config);
}

#[test]
fn messages_of_the_corpus_mean_the_same_after_they_were_packed() {
    replay("cmsgpack", drive::cmsgpack);
}

#[test]
fn json_of_the_corpus_means_the_same_after_it_was_encoded() {
    replay("cjson", drive::cjson);
}

#[test]
fn libraries_of_the_corpus_come_back_from_their_payload() {
    replay("payload", drive::payload);
}

#[test]
fn structures_of_the_corpus_end_where_their_size_says() {
    replay("struct", drive::structs);
}

#[test]
fn snapshots_of_the_corpus_are_read_or_refused() {
    replay("snapshot", drive::snapshot);
}

#[test]
fn payloads_of_the_corpus_are_read_or_refused() {
    replay("dumped", drive::dumped);
}

#[test]
fn logs_of_the_corpus_are_refused_or_whole() {
    replay("journal", drive::journal);
}

#[test]
fn manifests_of_the_corpus_are_refused_or_mean_the_same() {
    replay("manifest", drive::manifest);
}
