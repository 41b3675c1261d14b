//! The bridge that build containers reach the package registries over.
//!
//! Docker's own iptables rules would be shared by all Engines of this machine, and the next Engine to start flushes
//! them. So our Engines write none (`"iptables": false`), and each gets a bridge with the three rules that it needs.

use anyhow::{Context, Result};

use crate::process::{command, run};

/// The bridge's name.
pub(crate) fn bridge(slot: u8) -> String {
    format!("rig{slot}")
}

/// The machine's address on the bridge, for containers and for itself.
pub(crate) fn address(slot: u8) -> String {
    format!("10.213.{slot}.1")
}

fn subnet(slot: u8) -> String {
    format!("10.213.{slot}.0/24")
}

fn rules(slot: u8) -> [Vec<String>; 3] {
    let (bridge, subnet) = (bridge(slot), subnet(slot));
    [
        format!("filter FORWARD -i {bridge} -j ACCEPT"),
        format!("filter FORWARD -o {bridge} -j ACCEPT"),
        format!("nat POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE"),
    ]
    .map(|rule| rule.split(' ').map(str::to_owned).collect())
}

fn iptables(action: &str, rule: &[String]) -> Result<String> {
    let [table, chain, matches @ ..] = rule else {
        return Ok(String::new());
    };
    run(command!("iptables", "--wait", "--table", table, action, chain).args(matches))
}

/// Makes the slot's bridge, with addresses translated on the way out.
pub(crate) fn make(slot: u8) -> Result<()> {
    let bridge = bridge(slot);
    // A bridge without an address of its own takes the lowest of those of its ports, and loses it when that port goes: all
    // containers then send to an address that is nobody's until they ask anew, for half a minute.
    let hardware = format!("02:00:0a:d5:{slot:02x}:01");
    run(&mut command!(
        "ip", "link", "add", &bridge, "address", hardware, "type", "bridge"
    ))?;
    run(&mut command!(
        "ip",
        "address",
        "add",
        format!("{}/24", address(slot)),
        "dev",
        &bridge
    ))?;
    run(&mut command!("ip", "link", "set", &bridge, "up"))?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("turning IPv4 forwarding on")?;
    rules(slot)
        .iter()
        .try_for_each(|rule| iptables("--insert", rule).map(drop))
}

/// Removes bridge and rules; what isn't there is no error.
pub(crate) fn remove(slot: u8) {
    for rule in rules(slot) {
        while iptables("--delete", &rule).is_ok() {}
    }
    let _ = run(&mut command!("ip", "link", "delete", bridge(slot)));
}
