#[cfg_attr(
    not(test),
    expect(dead_code, reason = "nothing reads the progress stream yet")
)]
mod build;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "nothing reads the progress stream yet")
)]
mod timings;

fn main() {}
