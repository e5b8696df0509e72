//! The plan as the stage reads it: one flat record of numbers, texts and lists by offset.
//!
//! This file is the only schema. The host side encodes with [`Wire::put`], the stage decodes with
//! [`Wire::get`]; both come from the same declaration. Numbers are little-endian and unaligned; there is no
//! pointer, and every access is bounds-checked, so any bytes at all are safe to read.

use core::marker::PhantomData;

use crate::fail::{Fail, Refusal, Result};

/// Something with a fixed size on the wire.
pub trait Wire: Copy {
    /// Bytes it takes.
    const SIZE: usize;
    /// Decodes it from the start of `bytes`.
    fn get(bytes: &[u8]) -> Option<Self>;
    /// Hands its bytes to `sink`, in order.
    fn put(&self, sink: &mut dyn FnMut(&[u8]));
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            const SIZE: usize = size_of::<$type>();
            #[inline]
            fn get(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(*bytes.first_chunk()?))
            }
            fn put(&self, sink: &mut dyn FnMut(&[u8])) {
                sink(&self.to_le_bytes());
            }
        }
    )*};
}
number!(u32, i32, u64, i64);

/// A C string in the arena: offset and length without the final NUL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Offset from the start of the plan.
    pub at: u32,
    /// Length in bytes, the NUL not counted.
    pub len: u32,
}

impl Wire for Text {
    const SIZE: usize = 8;
    fn get(bytes: &[u8]) -> Option<Self> {
        Some(Self { at: u32::get(bytes)?, len: u32::get(bytes.get(4..)?)? })
    }
    fn put(&self, sink: &mut dyn FnMut(&[u8])) {
        self.at.put(sink);
        self.len.put(sink);
    }
}

/// Consecutive records in the arena.
#[derive(Debug, PartialEq, Eq)]
pub struct List<T> {
    /// Offset from the start of the plan.
    pub at: u32,
    /// How many.
    pub count: u32,
    of: PhantomData<T>,
}

impl<T> List<T> {
    /// `count` records at offset `at`.
    pub const fn new(at: u32, count: u32) -> Self {
        Self { at, count, of: PhantomData }
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for List<T> {}
impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl<T> Wire for List<T> {
    const SIZE: usize = 8;
    fn get(bytes: &[u8]) -> Option<Self> {
        Some(Self::new(u32::get(bytes)?, u32::get(bytes.get(4..)?)?))
    }
    fn put(&self, sink: &mut dyn FnMut(&[u8])) {
        self.at.put(sink);
        self.count.put(sink);
    }
}

macro_rules! record {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $type,)*
        }

        impl Wire for $name {
            const SIZE: usize = 0 $(+ <$type as Wire>::SIZE)*;
            fn get(bytes: &[u8]) -> Option<Self> {
                let mut rest = bytes;
                $(
                    let $field = <$type as Wire>::get(rest)?;
                    rest = rest.get(<$type as Wire>::SIZE..)?;
                )*
                let _ = rest;
                Some(Self { $($field),* })
            }
            fn put(&self, sink: &mut dyn FnMut(&[u8])) {
                $(self.$field.put(sink);)*
            }
        }
    )*};
}

/// A number that says: leave as it is.
pub const KEEP: u32 = u32::MAX;

/// No descriptor in this place.
pub const NO_SLOT: u32 = u32::MAX;

record! {
    /// The whole plan; the first bytes of the arena.
    pub struct Header {
        /// [`MAGIC`].
        magic: u32,
        /// [`flag`] bits.
        flags: u32,
        /// CLONE_NEW* bits the stage unshares itself, after it entered its cgroup and joined namespaces.
        unshare: u32,
        /// Descriptors of the container besides 0, 1, 2: 3 … 3+n.
        preserved: List<u32>,
        /// Slots of 0, 1 and 2; NO_SLOT leaves the inherited one.
        stdin: u32,
        /// Slot of standard output.
        stdout: u32,
        /// Slot of standard error.
        stderr: u32,
        /// Slots of cgroup v1 `tasks` files to write "0" into.
        tasks: List<u32>,
        /// CPUs until they are written to, a bit each; empty: the caller's.
        cpus_initial: List<u64>,
        /// CPUs from then on; empty: all, or with KEEP_CPUS the same.
        cpus_final: List<u64>,
        /// Namespaces to join, in order.
        joins: List<Join>,
        /// Root of a procfs nobody else sees, for what is set by writing to one; NO_SLOT where nothing is.
        proc: u32,
        /// What goes into timens_offsets; empty: nothing.
        time_offsets: Text,
        /// Name of the session keyring to join; empty: none.
        keyring: Text,
        /// Its permission bits (keyctl_setperm(3)).
        keyring_permissions: u32,
        /// Root filesystem: detached clone made by the parent, or NO_SLOT.
        root_slot: u32,
        /// Host path of the root filesystem where the parent may not clone it.
        root_path: Text,
        /// Host path to attach it at, so that hooks find it there; empty: over "/", where nobody does.
        root_at: Text,
        /// MS_* propagation of "/" while preparing.
        root_propagation: u32,
        /// MS_* propagation of the root filesystem's own tree, applied in order before anything is mounted on it.
        tree_propagation: List<u32>,
        /// Mount points of the host to take away before chroot.
        hidden: List<Text>,
        /// MS_* propagation of the new root once it is "/"; 0: leave.
        final_propagation: u32,
        /// Mounts, in order.
        mounts: List<Mount>,
        /// Device nodes.
        devices: List<Device>,
        /// Links made after the mounts.
        links: List<Link>,
        /// Host name.
        hostname: Text,
        /// NIS domain name.
        domainname: Text,
        /// What goes into AppArmor's exec attribute; empty: nothing.
        apparmor: Text,
        /// What goes into SELinux's exec attribute; empty: nothing.
        selinux: Text,
        /// Kernel parameters, in order.
        sysctls: List<Sysctl>,
        /// Read-only paths.
        readonly_paths: List<Text>,
        /// Masked paths.
        masked_paths: List<Text>,
        /// Host's /dev/null: detached clone, or NO_SLOT.
        null_slot: u32,
        /// SELinux context of the tmpfs behind masked directories; empty: none.
        mask_context: Text,
        /// Terminal rows; 0 with columns 0: leave.
        rows: u32,
        /// Terminal columns.
        columns: u32,
        /// File mode creation mask of the program; [`KEEP`]: the caller's.
        umask: u32,
        /// Working directory.
        cwd: Text,
        /// argv.
        args: List<Text>,
        /// Environment; the last one is reserved for HOME if the flag HOME is set.
        env: List<Text>,
        /// Programs to try, in order; the first that exists and may be executed is it.
        candidates: List<Text>,
        /// User id of the set-up in a user namespace.
        set_up_uid: u32,
        /// Its group id.
        set_up_gid: u32,
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
        /// Supplementary groups.
        groups: List<u32>,
        /// Capability bits to keep.
        bounding: u64,
        /// Effective set.
        effective: u64,
        /// Permitted set.
        permitted: u64,
        /// Inheritable set.
        inheritable: u64,
        /// Ambient set.
        ambient: u64,
        /// Execution domain; [`UNSET`]: leave.
        personality: u32,
        /// NUMA policy with its flags; [`UNSET`]: leave.
        memory_policy: u32,
        /// Its nodes, a bit each.
        memory_nodes: List<u64>,
        /// CPU scheduling: none, or one.
        scheduler: List<Scheduler>,
        /// I/O priority, as ioprio_set(2) takes it; [`UNSET`]: leave.
        io_priority: u32,
        /// Resource limits.
        rlimits: List<Rlimit>,
        /// Seccomp program: offset and instruction count.
        seccomp: List<u64>,
        /// SECCOMP_FILTER_FLAG_*.
        seccomp_flags: u32,
        /// Hooks run in the container's namespaces before the root is entered.
        create_container: List<Hook>,
        /// Hooks run by the user, in the root, right before the program.
        start_container: List<Hook>,
        /// The state for createContainer hooks, up to the pid.
        hook_creating: Text,
        /// The state for startContainer hooks, up to the pid.
        hook_created: Text,
        /// The state from behind the pid on.
        hook_rest: Text,
        /// Slot of the fifo that is read to wait for `start`; NO_SLOT: wait for a message.
        gate: u32,
        /// Slot of the fifo that reports execve's result; NO_SLOT: by message.
        status: u32,
    }

    /// A namespace to join (setns(2)).
    pub struct Join {
        /// Slot of its descriptor.
        slot: u32,
        /// CLONE_NEW* bit.
        kind: u32,
    }

    /// One entry of `mounts`.
    pub struct Mount {
        /// [`mount_kind`].
        kind: u32,
        /// [`mount_flag`] bits.
        flags: u32,
        /// Where, relative to the root, no leading slash.
        target: Text,
        /// Filesystem type, or the host path of a bind source the parent may not clone.
        fstype: Text,
        /// Source as shown in mountinfo; target of a link.
        source: Text,
        /// Filesystem options.
        options: List<FsOption>,
        /// Bind source: detached clone, or NO_SLOT.
        slot: u32,
        /// MOUNT_ATTR_* to set on this mount.
        attr_set: u64,
        /// MOUNT_ATTR_* to clear on this mount.
        attr_clear: u64,
        /// MOUNT_ATTR_* to clear too where the kernel lets us.
        attr_relax: u64,
        /// MOUNT_ATTR_* to set on it and all below.
        all_set: u64,
        /// MOUNT_ATTR_* to clear on it and all below.
        all_clear: u64,
        /// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC; applied in order.
        propagation: List<u32>,
        /// SELinux context to write on the mounted root; empty: none.
        label: Text,
        /// The options as mount(2) takes them, with BY_MOUNT.
        data: Text,
    }

    /// One option of fsconfig(2); an empty value is a flag.
    pub struct FsOption {
        /// Name.
        key: Text,
        /// Value.
        value: Text,
    }

    /// One device node.
    pub struct Device {
        /// Where, relative to the root.
        path: Text,
        /// S_IFCHR, S_IFBLK or S_IFIFO with the permission bits.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Host device to bind instead of mknod: detached clone, or NO_SLOT.
        slot: u32,
        /// Its host path where the parent may not clone it; empty with NO_SLOT: mknod.
        host: Text,
    }

    /// A symbolic link.
    pub struct Link {
        /// Where, relative to the root.
        path: Text,
        /// What it says.
        target: Text,
        /// 1: in place of what is there; 0: that stays.
        replace: u32,
    }

    /// One kernel parameter.
    pub struct Sysctl {
        /// Its file, relative to the root of a procfs.
        path: Text,
        /// What is written there.
        value: Text,
    }

    /// struct sched_attr of sched_setattr(2), as far as the spec has it.
    pub struct Scheduler {
        /// SCHED_* number.
        policy: u32,
        /// Priority of the real-time policies.
        priority: u32,
        /// SCHED_FLAG_* bits.
        flags: u64,
        /// Nice value of the normal policies.
        nice: i32,
        /// SCHED_DEADLINE: nanoseconds of work.
        runtime: u64,
        /// SCHED_DEADLINE: within which it is done.
        deadline: u64,
        /// SCHED_DEADLINE: how often.
        period: u64,
    }

    /// A hook the stage runs.
    pub struct Hook {
        /// Program.
        path: Text,
        /// argv.
        args: List<Text>,
        /// Environment; empty for a startContainer hook: the program's.
        env: List<Text>,
        /// Seconds it may take; 0: as long as it wants.
        timeout: u32,
    }

    /// One resource limit.
    pub struct Rlimit {
        /// RLIMIT_* number.
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    }
}

/// A number that is not to be set.
pub const UNSET: u32 = u32::MAX;

/// First word of a plan.
pub const MAGIC: u32 = u32::from_le_bytes(*b"rtp1");

/// Bits of [`Header::flags`].
#[allow(missing_docs)]
pub mod flag {
    /// A user namespace is new: ask the parent for its maps, then become root in it.
    pub const MAP_IDS: u32 = 1;
    /// A pid namespace was joined or unshared: continue in a child.
    pub const FORK: u32 = 1 << 1;
    /// Not dumpable from before the first join to execve (CVE-2016-9962).
    pub const NOT_DUMPABLE: u32 = 1 << 2;
    /// Bring `lo` up.
    pub const LOOPBACK: u32 = 1 << 3;
    /// Move the root mount and chroot instead of pivot_root.
    pub const NO_PIVOT: u32 = 1 << 4;
    /// Wait for the host hooks before the root is entered.
    pub const HOST_HOOKS: u32 = 1 << 5;
    /// Make a terminal.
    pub const TERMINAL: u32 = 1 << 6;
    /// Remount "/" read-only.
    pub const READONLY_ROOT: u32 = 1 << 7;
    /// The last environment entry is for HOME.
    pub const HOME: u32 = 1 << 8;
    /// PR_SET_NO_NEW_PRIVS.
    pub const NO_NEW_PRIVS: u32 = 1 << 9;
    /// Change the capability sets.
    pub const CAPABILITIES: u32 = 1 << 10;
    /// setgroups(2) is not to be called: denied in this user namespace.
    pub const KEEP_GROUPS: u32 = 1 << 11;
    /// `args[0]` holds no slash: an unsuccessful look-up is "not in $PATH".
    pub const SEARCH_PATH: u32 = 1 << 12;
    /// Take id 0 of the user namespace that was made or joined.
    pub const BECOME_ROOT: u32 = 1 << 13;
    /// Have the parent move network devices in.
    pub const NET_DEVICES: u32 = 1 << 14;
    /// The mount namespace is the caller's: the root is mounted already, and only entered by chroot.
    pub const CALLERS_MOUNTS: u32 = 1 << 15;
    /// Another program in a container that is there: its root is entered by joining, and nothing is built.
    pub const EXEC: u32 = 1 << 24;
    /// The CPUs stay those of before the cgroup was entered.
    pub const KEEP_CPUS: u32 = 1 << 25;
}

/// What a [`Mount`] does.
#[allow(missing_docs)]
pub mod mount_kind {
    /// A new filesystem.
    pub const FILESYSTEM: u32 = 0;
    /// A bind of a host file or directory.
    pub const BIND: u32 = 1;
    /// Changes the attributes of the mount that is there.
    pub const REMOUNT: u32 = 2;
    /// A symbolic link (merged cgroup v1 controllers).
    pub const LINK: u32 = 3;
}

/// Bits of [`Mount::flags`].
#[allow(missing_docs)]
pub mod mount_flag {
    /// rbind.
    pub const RECURSIVE: u32 = 1;
    /// `/proc`, `/sys`: the target must be an ordinary directory, reached without links.
    pub const ORDINARY_DIRECTORY: u32 = 1 << 1;
    /// Read-only only once everything below it was made (tmpfs).
    pub const READONLY_LATE: u32 = 1 << 2;
    /// The source of the bind must be the root of a procfs.
    pub const PROCFS_ROOT: u32 = 1 << 3;
    /// An existing target directory gives its mode to the tmpfs.
    pub const KEEP_MODE: u32 = 1 << 4;
    /// Bind this host directory where the kernel refuses the filesystem (sysfs, cgroup2 without the rights).
    pub const BIND_ON_EPERM: u32 = 1 << 5;
    /// The new filesystem gets a copy of what it covers.
    pub const COPY_UP: u32 = 1 << 6;
    /// An option is too long for fsconfig(2): mount(2) with all of them in one text.
    pub const BY_MOUNT: u32 = 1 << 7;
    /// The source of the bind is below the root itself, where it is looked up.
    pub const INNER: u32 = 1 << 8;
    /// Have the parent map its ids.
    pub const MAP_IDS: u32 = 1 << 9;
    /// A source that is a link is mounted itself.
    pub const SOURCE_ITSELF: u32 = 1 << 10;
    /// A target that is a link is covered itself.
    pub const TARGET_ITSELF: u32 = 1 << 11;
    /// A source that is a link is made anew at the target.
    pub const COPY_LINK: u32 = 1 << 12;
    /// The parent clones the source when it is asked to.
    pub const ASK: u32 = 1 << 13;
}

/// A NUL-terminated byte string: what system calls take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Z<'a>(&'a [u8]);

impl<'a> Z<'a> {
    /// The empty string.
    pub const EMPTY: Z<'static> = Z(b"\0");

    /// `bytes` must end in NUL, or the string is empty.
    pub const fn new(bytes: &'a [u8]) -> Self {
        match bytes {
            [.., 0] => Z(bytes),
            _ => Z(b"\0"),
        }
    }

    /// Without the NUL.
    pub fn bytes(self) -> &'a [u8] {
        match self.0.split_last() {
            Some((_, text)) => text,
            None => &[],
        }
    }

    /// With the NUL.
    pub fn with_nul(self) -> &'a [u8] {
        self.0
    }

    /// True if there is nothing before the NUL.
    pub fn is_empty(self) -> bool {
        self.0.len() <= 1
    }

    /// Where the NUL-terminated bytes are.
    pub fn as_ptr(self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// A decoded plan over its bytes.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    bytes: &'a [u8],
    /// The fixed part.
    pub header: Header,
}

impl<'a> Plan<'a> {
    /// Decodes the fixed part.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        match Header::get(bytes) {
            Some(header) if header.magic == MAGIC => Ok(Self { bytes, header }),
            _ => Err(Fail::refuse(Refusal::BadPlan)),
        }
    }

    /// A text of the arena.
    pub fn text(&self, text: Text) -> Result<Z<'a>> {
        if text.len == 0 {
            return Ok(Z::EMPTY);
        }
        let at = text.at as usize;
        let end = at.wrapping_add(text.len as usize);
        match self.bytes.get(at..=end) {
            Some(bytes @ [.., 0]) => Ok(Z(bytes)),
            _ => Err(Fail::refuse(Refusal::BadPlan)),
        }
    }

    /// Element `index` of a list.
    pub fn item<T: Wire>(&self, list: List<T>, index: u32) -> Result<T> {
        let at = list.at as usize + T::SIZE * index as usize;
        match self.bytes.get(at..).and_then(T::get) {
            Some(item) if index < list.count => Ok(item),
            _ => Err(Fail::refuse(Refusal::BadPlan)),
        }
    }

    /// The elements of a list, numbered.
    pub fn items<T: Wire>(&self, list: List<T>) -> Items<'a, T> {
        Items { plan: *self, list, next: 0 }
    }

    /// The bytes of a list of `width`-byte elements.
    pub fn raw<T>(&self, list: List<T>, width: usize) -> Result<&'a [u8]> {
        let at = list.at as usize;
        self.bytes.get(at..at + width * list.count as usize).ok_or(Fail::refuse(Refusal::BadPlan))
    }
}

/// Iterator of [`Plan::items`].
pub struct Items<'a, T> {
    plan: Plan<'a>,
    list: List<T>,
    next: u32,
}

impl<T: Wire> Iterator for Items<'_, T> {
    type Item = (u32, Result<T>);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.list.count {
            return None;
        }
        self.next += 1;
        Some((index, self.plan.item(self.list, index)))
    }
}
