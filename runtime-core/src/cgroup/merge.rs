//! `update`: what becomes of the limits on record when some are given anew. Pure.
//!
//! As in runc 1.5 (contract of `runc update`): most members keep their value where the request has none; burst, CPU
//! and memory sets, idle, the number of tasks and the verbatim files are forgotten, which changes nothing in the
//! kernel; entries for devices are replaced one by one. Quota and period both keep their value, where runc forgets
//! them if neither is given, and then loses the quota when only the period is changed.

use crate::spec::{BlockIo, Cpu, HugepageLimit, Memory, Resources, ThrottleDevice, WeightDevice};

/// The limits on record after `request`. Device rules never change.
pub fn merge(old: &Resources, request: &Resources) -> Resources {
    Resources {
        devices: old.devices.clone(),
        memory: memory(old.memory.as_ref(), request.memory.as_ref()),
        cpu: cpu(old.cpu.as_ref(), request.cpu.as_ref()),
        pids: request.pids.clone(),
        block_io: block_io(old.block_io.as_ref(), request.block_io.as_ref()),
        hugepage_limits: entries(&old.hugepage_limits, &request.hugepage_limits, |limit: &HugepageLimit| {
            limit.page_size.clone()
        }),
        network: request.network.clone().or_else(|| old.network.clone()),
        rdma: request.rdma.clone().or_else(|| old.rdma.clone()),
        unified: request.unified.clone(),
    }
}

fn memory(old: Option<&Memory>, request: Option<&Memory>) -> Option<Memory> {
    let (mut new, Some(request)) = (old.cloned().unwrap_or_default(), request) else { return old.cloned() };
    let mut request = request.clone();
    if request.limit == Some(-1) && request.swap.is_none() {
        // No limit on memory means none on memory and swap.
        request.swap = Some(0);
    }
    new.limit = request.limit.or(new.limit);
    new.reservation = request.reservation.or(new.reservation);
    new.swap = request.swap.or(new.swap);
    new.swappiness = request.swappiness.or(new.swappiness);
    new.disable_oom_killer = request.disable_oom_killer.or(new.disable_oom_killer);
    // Never on unless this request says so.
    new.check_before_update = request.check_before_update;
    Some(new)
}

fn cpu(old: Option<&Cpu>, request: Option<&Cpu>) -> Option<Cpu> {
    let old = old.cloned().unwrap_or_default();
    let mut request = request.cloned().unwrap_or_default();
    if request.idle.is_some() && request.shares.is_none() {
        // An idle group takes no weight.
        request.shares = Some(0);
    }
    Some(Cpu {
        shares: request.shares.or(old.shares),
        quota: request.quota.or(old.quota),
        period: request.period.or(old.period),
        realtime_runtime: request.realtime_runtime.or(old.realtime_runtime),
        realtime_period: request.realtime_period.or(old.realtime_period),
        ..request
    })
}

fn block_io(old: Option<&BlockIo>, request: Option<&BlockIo>) -> Option<BlockIo> {
    let (Some(old), Some(request)) = (old, request) else { return request.or(old).cloned() };
    let weights = |device: &WeightDevice| (device.major, device.minor);
    let throttles = |old: &Option<Vec<ThrottleDevice>>, new: &Option<Vec<ThrottleDevice>>| {
        entries(old, new, |device: &ThrottleDevice| (device.major, device.minor))
    };
    Some(BlockIo {
        weight: request.weight.or(old.weight),
        leaf_weight: request.leaf_weight.or(old.leaf_weight),
        weight_device: entries(&old.weight_device, &request.weight_device, weights),
        throttle_read_bps_device: throttles(&old.throttle_read_bps_device, &request.throttle_read_bps_device),
        throttle_write_bps_device: throttles(&old.throttle_write_bps_device, &request.throttle_write_bps_device),
        throttle_read_iops_device: throttles(&old.throttle_read_iops_device, &request.throttle_read_iops_device),
        throttle_write_iops_device: throttles(&old.throttle_write_iops_device, &request.throttle_write_iops_device),
    })
}

/// The old list with the new entries in place of those of the same key, or behind them.
fn entries<T: Clone, K: PartialEq>(
    old: &Option<Vec<T>>,
    new: &Option<Vec<T>>,
    key: impl Fn(&T) -> K,
) -> Option<Vec<T>> {
    let Some(new) = new else { return old.clone() };
    let mut all = old.clone().unwrap_or_default();
    for entry in new {
        match all.iter_mut().find(|known| key(known) == key(entry)) {
            Some(known) => *known = entry.clone(),
            None => all.push(entry.clone()),
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(old: &str, request: &str) -> String {
        let parse = |text: &str| serde_json::from_str::<Resources>(text).expect(text);
        let value = serde_json::to_value(merge(&parse(old), &parse(request))).expect("value");
        strip(value).to_string()
    }

    /// Without nulls and empty objects.
    fn strip(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Object(map) => Value::Object(
                map.into_iter()
                    .map(|(key, value)| (key, strip(value)))
                    .filter(|(_, value)| !value.is_null() && *value != serde_json::json!({}))
                    .collect(),
            ),
            Value::Array(list) => Value::Array(list.into_iter().map(strip).collect()),
            other => other,
        }
    }

    #[test]
    fn as_runc_update_merges() {
        for (old, request, wanted) in [
            (r#"{"memory":{"limit":5,"swap":9}}"#, r#"{"memory":{"limit":6}}"#, r#"{"memory":{"limit":6,"swap":9}}"#),
            (r#"{"memory":{"limit":5,"swap":9}}"#, r#"{"memory":{"limit":-1}}"#, r#"{"memory":{"limit":-1,"swap":0}}"#),
            (
                r#"{"memory":{"limit":5,"checkBeforeUpdate":true}}"#,
                r#"{"memory":{"reservation":2}}"#,
                r#"{"memory":{"limit":5,"reservation":2}}"#,
            ),
            (
                r#"{"cpu":{"shares":9,"idle":0,"cpus":"0"}}"#,
                r#"{"cpu":{"idle":1}}"#,
                r#"{"cpu":{"idle":1,"shares":0}}"#,
            ),
            (
                r#"{"cpu":{"quota":9,"period":99,"burst":1}}"#,
                r#"{"cpu":{"period":100}}"#,
                r#"{"cpu":{"period":100,"quota":9}}"#,
            ),
            (r#"{"pids":{"limit":5},"cpu":{"shares":9}}"#, r#"{}"#, r#"{"cpu":{"shares":9}}"#),
            (r#"{"unified":{"a.b":"1"}}"#, r#"{"unified":{"c.d":"2"}}"#, r#"{"unified":{"c.d":"2"}}"#),
            (
                r#"{"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":1,"rate":2}]}}"#,
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":1,"rate":3},{"major":8,"minor":2,"rate":4}]}}"#,
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"rate":1},{"major":8,"minor":1,"rate":3},{"major":8,"minor":2,"rate":4}],"weight":10}}"#,
            ),
        ] {
            assert_eq!(merged(old, request), wanted, "{old} + {request}");
        }
    }
}
