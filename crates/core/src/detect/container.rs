//! The id of the container that this process runs in.

/// The id of this process's container, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
///
/// The control group names it, unless the container sees a namespace of its own (the default of cgroup v2); then the
/// files that Docker and Podman mount into it do. In a Kubernetes pod those files belong to the pod's *sandbox*, whose id
/// is another one: a wrong id is worse than none, so the answer is `None` there.
///
/// ```
/// let id = "485776c9f6f2c22e2b44a2239b65471d6a02701b54d1cb5e1c55a09108a1b5b9";
/// let cgroup = format!("12:pids:/docker/{id}\n0::/\n");
/// assert_eq!(hiq_core::detect::container_id(&cgroup, ""), Some(id));
/// ```
pub fn container_id<'t>(cgroup: &'t str, mountinfo: &'t str) -> Option<&'t str> {
    let mut groups = cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    groups
        .find_map(id_in_group)
        .or_else(|| id_in_mounts(mountinfo))
}

/// The innermost id of a control group's path: a container in a container belongs to the inner one.
fn id_in_group(path: &str) -> Option<&str> {
    path.rsplit('/')
        .find_map(|segment| id_in_segment(segment, path))
}

/// `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `libpod-<id>`, `<slice>:cri-containerd:<id>`, and on ECS
/// Fargate `<task>-<number>`.
fn id_in_segment<'t>(segment: &'t str, path: &str) -> Option<&'t str> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let (runtime, last) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    // The monitor runs beside the container, under its id.
    if is_id(last) && !runtime.ends_with("conmon") {
        return Some(last);
    }
    (path.contains("/ecs/") && is_fargate_id(name)).then_some(name)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_lower_hex)
}

fn is_fargate_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        task.len() == 32 && task.bytes().all(is_lower_hex) && digits
    })
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn id_in_mounts(mountinfo: &str) -> Option<&str> {
    let mounts = || mountinfo.lines().filter_map(Mount::parse);
    let in_group = mounts()
        .filter(|mount| mount.is_group)
        .find_map(|mount| id_in_group(mount.root));
    if in_group.is_some() {
        return in_group;
    }
    let is_pod =
        mounts().any(|mount| mount.point == "/etc/hosts" && mount.root.ends_with("/etc-hosts"));
    if is_pod {
        return None;
    }
    // Containers of a Podman pod may share the hostname's file; `.containerenv` is each one's own.
    ["/run/.containerenv", "/etc/hostname"]
        .iter()
        .find_map(|point| {
            let of_point = mounts().find(|mount| mount.point == *point);
            of_point.and_then(|mount| id_in_storage(mount.root))
        })
}

/// `.../containers/<id>/hostname`, `.../overlay-containers/<id>/userdata/hostname`. A CRI's `.../sandboxes/<id>` is a pod's.
fn id_in_storage(path: &str) -> Option<&str> {
    let mut segments = path.rsplit('/').peekable();
    while let Some(segment) = segments.next() {
        let above = segments.peek().copied().unwrap_or_default();
        if is_id(segment) && above.ends_with("containers") {
            return Some(segment);
        }
    }
    None
}

/// A line of `mountinfo`: id, parent, device, root, mount point, options, optional fields, `-`, type, source, options.
struct Mount<'t> {
    root: &'t str,
    point: &'t str,
    is_group: bool,
}

impl<'t> Mount<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let kind = fields.skip_while(|field| *field != "-").nth(1)?;
        Some(Self {
            root,
            point,
            is_group: kind == "cgroup" || kind == "cgroup2",
        })
    }
}
