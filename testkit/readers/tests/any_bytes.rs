//! Files of the corpus, as they are and changed at random, go through every reader.

use readers::TARGETS;

#[test]
fn every_reader_takes_its_corpus() {
    TARGETS.iter().for_each(readers::Target::read_seeds);
}

#[test]
fn no_reader_fails_on_changed_bytes() {
    TARGETS.iter().for_each(readers::Target::read_changed_seeds);
}
