#[expect(dead_code, reason = "nothing reads the progress stream yet")]
mod build;
#[expect(dead_code, reason = "nothing reads the progress stream yet")]
mod timings;

fn main() {}
