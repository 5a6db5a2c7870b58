//! Container ids from lines that real machines showed; ids and paths are those of public bug reports and manuals.

use hiq_core::detect::container_id;

fn of_group(cgroup: &str) -> Option<&str> {
    container_id(cgroup, "")
}

#[test]
fn docker_with_cgroup_v1_names_it_in_every_controller() {
    let cgroup = "12:pids:/docker/485776c9f6f2c22e2b44a2239b65471d6a02701b54d1cb5e1c55a09108a1b5b9\n\
                  11:cpuset:/docker/485776c9f6f2c22e2b44a2239b65471d6a02701b54d1cb5e1c55a09108a1b5b9\n\
                  1:name=systemd:/docker/485776c9f6f2c22e2b44a2239b65471d6a02701b54d1cb5e1c55a09108a1b5b9\n\
                  0::/system.slice/containerd.service\n";
    let id = "485776c9f6f2c22e2b44a2239b65471d6a02701b54d1cb5e1c55a09108a1b5b9";
    assert_eq!(of_group(cgroup), Some(id));
}

#[test]
fn docker_under_systemd_with_cgroup_v2_names_it_in_a_scope() {
    let cgroup = "0::/system.slice/docker-2dcbab615aebfa9313feffc5cfdacd381543cfa04c6be3f39ac656e55ef34805.scope\n";
    let id = "2dcbab615aebfa9313feffc5cfdacd381543cfa04c6be3f39ac656e55ef34805";
    assert_eq!(of_group(cgroup), Some(id));
}

#[test]
fn kubernetes_names_it_under_docker_containerd_and_crio() {
    for (cgroup, id) in [
        (
            "11:memory:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod69349abe_d645_11ea_9c4c_08002709c05c.slice/docker-80d85a3a585f1575028ebe468d83093c301eda20d37d1671ff2a0be50fc0e460.scope",
            "80d85a3a585f1575028ebe468d83093c301eda20d37d1671ff2a0be50fc0e460",
        ),
        (
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2d5133c0_65f3_40b2_b375_c04866d418e1.slice/cri-containerd-e01a26336924e2fb8089bcf4cf943954fd9ea616cc5678f38f65928307979459.scope",
            "e01a26336924e2fb8089bcf4cf943954fd9ea616cc5678f38f65928307979459",
        ),
        (
            "12:devices:/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod8ca306fa_3c03_47fa_97dd_19979c345572.slice/crio-d6d725b909f37c3e232aadfbafa950a58bfe7baa579ba8c47a12be88bb921607.scope",
            "d6d725b909f37c3e232aadfbafa950a58bfe7baa579ba8c47a12be88bb921607",
        ),
        (
            "9:cpuset:/system.slice/containerd.service/kubepods-besteffort-pod214f3ba8_4b69_4bdb_a7d5_5ecc73f04ae9.slice:cri-containerd:d4e8e05a546c86b6443f101966c618e47753ed01fa9929cae00d3b692f7a9f80",
            "d4e8e05a546c86b6443f101966c618e47753ed01fa9929cae00d3b692f7a9f80",
        ),
        (
            "0::/kubepods/burstable/pod2d5133c0-65f3-40b2-b375-c04866d418e1/e01a26336924e2fb8089bcf4cf943954fd9ea616cc5678f38f65928307979459",
            "e01a26336924e2fb8089bcf4cf943954fd9ea616cc5678f38f65928307979459",
        ),
    ] {
        assert_eq!(of_group(cgroup), Some(id), "{cgroup}");
    }
}

#[test]
fn podman_names_it_with_and_without_an_inner_group() {
    let id = "3de7a364f9de8d8665d657d82d6503fb3f0bc7b275609d3cf8fd53f17f18296b";
    for form in [
        "0::/machine.slice/libpod-{}.scope",
        "0::/machine.slice/libpod-{}.scope/container",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{}.scope/container",
        "11:pids:/libpod_parent/libpod-{}",
    ] {
        assert_eq!(of_group(&form.replace("{}", id)), Some(id), "{form}");
    }
    let monitor = "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-ee059a097566fdc5ac9141bfcdfbed0c972163da891de076e0849d7b53597aac.scope";
    assert_eq!(
        of_group(monitor),
        None,
        "the monitor is not in the container"
    );
}

#[test]
fn ecs_names_it_on_instances_and_on_fargate() {
    let instance = "9:perf_event:/ecs/test-ecs-classic/5a0d5ceddf6c44c1928d367a815d890f/38fac3e99302b3622be089dd41e7ccf38aff368a86cc339972075136ee2710ce";
    let id = "38fac3e99302b3622be089dd41e7ccf38aff368a86cc339972075136ee2710ce";
    assert_eq!(of_group(instance), Some(id));
    let fargate = "11:hugetlb:/ecs/55091c13-b8cf-4801-b527-f4601742204d/432624d2150b349fe35ba397284dea78-3447640135";
    assert_eq!(
        of_group(fargate),
        Some("432624d2150b349fe35ba397284dea78-3447640135")
    );
    let elsewhere = "11:hugetlb:/jobs/432624d2150b349fe35ba397284dea78-3447640135";
    assert_eq!(of_group(elsewhere), None);
}

#[test]
fn in_a_container_within_a_container_the_inner_one_counts() {
    let node = "485776c9f6f2c22e2b44a2239b65471d6a02701b54d1cb5e1c55a09108a1b5b9";
    let own = "e01a26336924e2fb8089bcf4cf943954fd9ea616cc5678f38f65928307979459";
    let kind = format!("0::/docker/{node}/kubelet/kubepods/burstable/pod2d5133c0-65f3/{own}");
    assert_eq!(of_group(&kind), Some(own));
    let init = format!("1:name=systemd:/docker/{node}/init.scope");
    assert_eq!(of_group(&init), Some(node));
}

#[test]
fn a_plain_machine_has_no_container() {
    let desktop = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-4f5ae6ba-3bd2-41fc-9dd7-9e35c5ccbd4f.scope\n";
    let mounts = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                  29 28 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw\n\
                  31 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n";
    assert_eq!(container_id(desktop, mounts), None);
    assert_eq!(container_id("", ""), None);
    assert_eq!(
        container_id("garbage\n::\n1:2", "not a mount\n1 2 3 4\n"),
        None
    );
    let short = "4:memory:/process_api/707b4d363689243389e0dd06fe548897";
    assert_eq!(of_group(short), None, "32 digits are no container");
}

const PRIVATE: &str = "0::/\n";

#[test]
fn docker_with_a_private_namespace_names_it_in_its_hostname_file() {
    let mounts = "4204 4195 259:2 /var/lib/docker/containers/0848110e7e6a6fe6317d104e099286860b03962119a1a124d9dd6ec4c4dc4b11/hostname /etc/hostname rw,relatime - ext4 /dev/nvme0n1p2 rw,errors=remount-ro\n\
                  4205 4195 259:2 /var/lib/docker/containers/0848110e7e6a6fe6317d104e099286860b03962119a1a124d9dd6ec4c4dc4b11/hosts /etc/hosts rw,relatime - ext4 /dev/nvme0n1p2 rw,errors=remount-ro\n";
    let id = "0848110e7e6a6fe6317d104e099286860b03962119a1a124d9dd6ec4c4dc4b11";
    assert_eq!(container_id(PRIVATE, mounts), Some(id));
}

#[test]
fn a_mounted_file_of_another_container_is_not_taken_for_its_own() {
    let logs = "4300 4195 259:2 /var/lib/docker/containers/1b8f3c3819fbae7b858e55c52ec5783d06aa9cbf337815ecb9b96f47babcee5d /logs ro,relatime - ext4 /dev/nvme0n1p2 rw\n";
    assert_eq!(container_id(PRIVATE, logs), None);
}

#[test]
fn podman_with_a_private_namespace_names_it_in_its_own_files() {
    let hostname = "4282 4276 0:94 /containers/overlay-containers/b9bb2fc96c57ef741ffbaaed3c0ac16a70705ba27443ce1a7d73554c9a63d125/userdata/hostname /etc/hostname rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=6557728k,nr_inodes=1639432,mode=700,uid=1000,gid=1000,inode64\n";
    let id = "b9bb2fc96c57ef741ffbaaed3c0ac16a70705ba27443ce1a7d73554c9a63d125";
    assert_eq!(container_id(PRIVATE, hostname), Some(id));

    let own = "495 499 0:54 /containers/overlay-containers/1b8f3c3819fbae7b858e55c52ec5783d06aa9cbf337815ecb9b96f47babcee5d/userdata/.containerenv /run/.containerenv rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=792480k,nr_inodes=198120,mode=700,uid=1000,gid=1000,inode64\n";
    let id = "1b8f3c3819fbae7b858e55c52ec5783d06aa9cbf337815ecb9b96f47babcee5d";
    let in_a_pod = format!("{hostname}{own}");
    assert_eq!(
        container_id(PRIVATE, &in_a_pod),
        Some(id),
        "a pod may share the hostname's file"
    );
}

#[test]
fn the_sandbox_of_a_pod_is_not_taken_for_the_container() {
    let containerd = "1 2 254:16 /volumes/b081761fac04d12dc6807c570f7a3693d9d84c4ac1f8b6bb8a2363b96a0b3e35/_data/pods/4f0c0d93-f622-47ad-b040-3f784afcc7ac/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vdb rw\n\
                      3 2 254:16 /volumes/b081761fac04d12dc6807c570f7a3693d9d84c4ac1f8b6bb8a2363b96a0b3e35/_data/pods/4f0c0d93-f622-47ad-b040-3f784afcc7ac/containers/test/7c2efc1b /dev/termination-log rw,relatime - ext4 /dev/vdb rw\n\
                      4 2 254:16 /volumes/293cceff08dddb798ca16b1f7eae17a8543564df61f0470a8e6bdc7a129302fe/_data/agent/containerd/io.containerd.grpc.v1.cri/sandboxes/1bda206f479be85808ca7e0c517bff2d9b046330386be3eb4acc12e458a4ed3f/hostname /etc/hostname rw,relatime - ext4 /dev/vdb rw\n";
    assert_eq!(container_id(PRIVATE, containerd), None);

    let docker = "667 659 254:1 /var/lib/docker/containers/ceab3b5ea1bd9a8a0f5f1c3f1a1d0b0b6e3c1a6f3d0cf7d3b3c3ff9d8a4f2c11/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw\n\
                  668 659 254:1 /var/lib/kubelet/pods/5d1b4f0c-2b1e-4e3d-9a5d-0e4b9b1f0a77/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw\n";
    assert_eq!(
        container_id(PRIVATE, docker),
        None,
        "the pod's pause container"
    );

    let sandbox_alone = "4 2 254:16 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/c12c805d6314549dc42365c22d74814e277b971b835bffb1db79772d2abefcb0/hostname /etc/hostname rw,relatime - ext4 /dev/vdb rw\n";
    assert_eq!(container_id(PRIVATE, sandbox_alone), None);
}

#[test]
fn a_mounted_control_group_names_it_even_in_a_pod() {
    let mounts = "4135 4134 0:387 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755,inode64\n\
                  4136 4135 0:27 /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod542985b6_0726_4d82_bf85_36e327b167b3.slice/crio-78ea929aa43e7b71f7c36583d82038d92a76800bf5da9b8850e8bd7b514bc075.scope /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:9 - cgroup cgroup rw,seclabel,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd\n\
                  668 659 254:1 /var/lib/kubelet/pods/5d1b4f0c-2b1e-4e3d-9a5d-0e4b9b1f0a77/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw\n";
    let id = "78ea929aa43e7b71f7c36583d82038d92a76800bf5da9b8850e8bd7b514bc075";
    assert_eq!(container_id(PRIVATE, mounts), Some(id));
}
