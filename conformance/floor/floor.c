/*
 * The floor: the kernel work that the config of `bench` implies, in one straight line, and nothing else.
 *
 * No JSON, no checks, no errors explained: the config is compiled in. What this program costs is what any
 * runtime must pay to the kernel, so the benchmark quotes every runtime as a multiple of it. It is not a
 * runtime: it trusts its root filesystem completely.
 *
 * It takes the arguments that the benchmark gives to every runtime:
 *   floor --root DIR run    --bundle B ID
 *   floor --root DIR create --bundle B --pid-file F ID
 *   floor --root DIR start|state ID         floor --root DIR delete [--force] ID
 *   floor --root DIR exec ID PROGRAM        floor --root DIR list
 * and `floor --root DIR cgroups N`: the cgroup's part of N runs, without the containers.
 * The bundle's last letter says which config it holds: `true`, `filter` (true with a seccomp filter), `sleep`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* The compiled seccomp profile: `#define FILTER_LENGTH n` and `filter[]`, written by the benchmark. */
#include "filter.h"

#define CGROUP_PARENT "/sys/fs/cgroup/runtime-bench/"
#define NEW_NAMESPACES (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS)

static void die(const char *what) {
    dprintf(2, "floor: %s: %s\n", what, strerror(errno));
    _exit(1);
}
#define TRY(call) do { if ((call) < 0) die(#call); } while (0)

/* ---- cgroup: a directory, with a program that decides about devices ---- */

#define ALU(op, d, i) {.code = BPF_ALU | (op) | BPF_K, .dst_reg = (d), .imm = (i)}
#define COPY(d, s) {.code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = (d), .src_reg = (s)}
#define LOAD(d, at) {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (d), .src_reg = 1, .off = (at)}
#define UNLESS(d, i, skip) {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (d), .off = (skip), .imm = (i)}
#define RETURN(i) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = (i)}, {.code = BPF_JMP | BPF_EXIT}
#define ALLOW_NODE(major, minor) UNLESS(4, major, 3), UNLESS(5, minor, 2), RETURN(1)

/* Anyone may make a node; null, zero, full, random, urandom, tty, ptmx and pts/N may be used; nothing else. */
static const struct bpf_insn device_rules[] = {
    LOAD(2, 0), COPY(3, 2), ALU(BPF_AND, 2, 0xffff), ALU(BPF_RSH, 3, 16), LOAD(4, 4), LOAD(5, 8),
    UNLESS(3, BPF_DEVCG_ACC_MKNOD, 2), RETURN(1),
    UNLESS(2, BPF_DEVCG_DEV_CHAR, 31),
    ALLOW_NODE(1, 3), ALLOW_NODE(1, 5), ALLOW_NODE(1, 7), ALLOW_NODE(1, 8), ALLOW_NODE(1, 9),
    ALLOW_NODE(5, 0), ALLOW_NODE(5, 2), UNLESS(4, 136, 2), RETURN(1),
    RETURN(0),
};

static int make_cgroup(const char *id) {
    char path[256];
    snprintf(path, sizeof path, CGROUP_PARENT "%s", id);
    TRY(mkdir(path, 0755));
    int cgroup = open(path, O_DIRECTORY | O_CLOEXEC);
    TRY(cgroup);
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (uintptr_t)device_rules,
        .insn_cnt = sizeof device_rules / sizeof *device_rules, .license = (uintptr_t) "Apache"};
    int program = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    TRY(program);
    union bpf_attr attach = {.target_fd = cgroup, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE,
        .attach_flags = BPF_F_ALLOW_MULTI};
    TRY(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    close(program);
    return cgroup;
}

static void remove_cgroup(const char *id) {
    char path[256];
    snprintf(path, sizeof path, CGROUP_PARENT "%s", id);
    TRY(rmdir(path));
}

/* ---- the container's side ---- */

static void mount_all(void) {
    TRY(mount("proc", "proc", "proc", 0, NULL));
    TRY(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    TRY(mkdir("dev/pts", 0755));
    TRY(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    TRY(mkdir("dev/shm", 0755));
    TRY(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"));
    TRY(mkdir("dev/mqueue", 0755));
    TRY(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
    TRY(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL));
    TRY(mount("cgroup", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME | MS_RDONLY, NULL));
}

static void make_devices(void) {
    umask(0);
    TRY(mknod("dev/null", S_IFCHR | 0666, makedev(1, 3)));
    TRY(mknod("dev/zero", S_IFCHR | 0666, makedev(1, 5)));
    TRY(mknod("dev/full", S_IFCHR | 0666, makedev(1, 7)));
    TRY(mknod("dev/random", S_IFCHR | 0666, makedev(1, 8)));
    TRY(mknod("dev/urandom", S_IFCHR | 0666, makedev(1, 9)));
    TRY(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)));
    umask(022);
    TRY(symlink("pts/ptmx", "dev/ptmx"));
    TRY(symlink("/proc/self/fd", "dev/fd"));
    TRY(symlink("/proc/self/fd/0", "dev/stdin"));
    TRY(symlink("/proc/self/fd/1", "dev/stdout"));
    TRY(symlink("/proc/self/fd/2", "dev/stderr"));
    TRY(symlink("/proc/kcore", "dev/core"));
}

static void hide_paths(void) {
    static const char *const read_only[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
    static const char *const masked[] = {"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
        "/proc/scsi"};
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        const char *path = read_only[i];
        if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) == 0)
            TRY(mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    }
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
        if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno == ENOTDIR)
            TRY(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1"));
}

static void raise_loopback(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
    int link = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    TRY(link);
    TRY(ioctl(link, SIOCSIFFLAGS, &request));
}

static void restrict_process(int with_filter) {
    const uint32_t kept = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{.effective = kept, .permitted = kept}};
    struct rlimit files = {1024, 1024};
    TRY(setrlimit(RLIMIT_NOFILE, &files));
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (capability > 31 || !(kept >> capability & 1))
            TRY(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    TRY(syscall(SYS_setgroups, 0, NULL));
    TRY(syscall(SYS_setresgid, 0, 0, 0));
    TRY(syscall(SYS_setresuid, 0, 0, 0));
    TRY(syscall(SYS_capset, &header, sets));
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY(syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC));
    if (with_filter) {
        struct sock_fprog program = {FILTER_LENGTH, (struct sock_filter *)filter};
        TRY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    }
}

static void execute(const char *program, const char *argument) {
    char *const argv[] = {(char *)program, (char *)argument, NULL};
    char *const envp[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/root", NULL};
    execve(program, argv, envp);
    die(program);
}

/* `gate` is a fifo to wait at and `ready` a pipe to say so on; -1: neither. */
static void container(const char *bundle, int gate, int ready) {
    char rootfs[256], byte = 0;
    char kind = bundle[strlen(bundle) - 1];
    snprintf(rootfs, sizeof rootfs, "%s/rootfs", bundle);
    setsid();
    TRY(unshare(CLONE_NEWCGROUP));
    TRY(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    TRY(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    TRY(chdir(rootfs));
    mount_all();
    make_devices();
    TRY(syscall(SYS_pivot_root, ".", "."));
    TRY(umount2(".", MNT_DETACH));
    TRY(chdir("/"));
    raise_loopback();
    TRY(sethostname("bench", 5));
    hide_paths();
    TRY(mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    if (gate >= 0) {
        TRY(write(ready, &byte, 1));
        TRY(read(gate, &byte, 1));
    }
    restrict_process(kind == 'r');
    if (kind == 'p')
        execute("/bin/sleep", "1000000");
    execute("/bin/true", NULL);
}

/* ---- the host's side ---- */

/* clone3 inlined: with CLONE_VM the child runs on the parent's stack, so no frame may be left in between. */
static inline __attribute__((always_inline)) long clone3(struct clone_args *args) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_clone3), "D"(args), "S"(sizeof *args)
                     : "rcx", "r11", "memory");
    return result;
#else
    args->flags &= ~(uint64_t)(CLONE_VM | CLONE_VFORK);
    return syscall(SYS_clone3, args, sizeof *args);
#endif
}

static int wait_for(pid_t pid) {
    int status;
    TRY(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(const char *bundle, const char *id) {
    int cgroup = make_cgroup(id);
    struct clone_args args = {.flags = NEW_NAMESPACES | CLONE_INTO_CGROUP | CLONE_VM | CLONE_VFORK,
        .exit_signal = SIGCHLD, .cgroup = cgroup};
    long pid = clone3(&args);
    if (pid == 0)
        container(bundle, -1, -1);
    if (pid < 0)
        errno = -pid, die("clone3");
    int code = wait_for(pid);
    remove_cgroup(id);
    return code;
}

static void write_number(int at, const char *path, long number) {
    int file = openat(at, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    TRY(file);
    dprintf(file, "%ld", number);
    close(file);
}

static int open_state(const char *root, const char *id) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, id);
    int directory = open(path, O_DIRECTORY | O_CLOEXEC);
    TRY(directory);
    return directory;
}

/* The pid in `id`'s state; with `print`, a state document on stdout. */
static pid_t read_state(int directory, const char *id, int print) {
    char text[32] = {0};
    int file = openat(directory, "pid", O_RDONLY | O_CLOEXEC);
    TRY(file);
    TRY(read(file, text, sizeof text - 1));
    close(file);
    pid_t pid = atoi(text);
    if (print)
        dprintf(1, "{\"ociVersion\":\"1.0.2\",\"id\":\"%s\",\"status\":\"%s\",\"pid\":%d}\n", id,
                kill(pid, 0) == 0 ? "running" : "stopped", pid);
    return pid;
}

static int create(const char *root, const char *bundle, const char *pid_file, const char *id) {
    char path[256], byte;
    int ready[2];
    snprintf(path, sizeof path, "%s/%s", root, id);
    TRY(mkdir(path, 0700));
    int directory = open_state(root, id);
    TRY(mkfifoat(directory, "gate", 0600));
    int gate = openat(directory, "gate", O_RDWR | O_CLOEXEC);
    TRY(gate);
    TRY(pipe2(ready, O_CLOEXEC));
    int cgroup = make_cgroup(id);
    struct clone_args args = {.flags = NEW_NAMESPACES | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup};
    long pid = syscall(SYS_clone3, &args, sizeof args);
    TRY(pid);
    if (pid == 0)
        container(bundle, gate, ready[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        die("the container's set-up failed");
    write_number(directory, "pid", pid);
    write_number(AT_FDCWD, pid_file, pid);
    return 0;
}

static int start(const char *root, const char *id) {
    int directory = open_state(root, id);
    char byte = 0;
    if (kill(read_state(directory, id, 0), 0) < 0)
        die(id);
    int gate = openat(directory, "gate", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    TRY(gate);
    TRY(write(gate, &byte, 1));
    return 0;
}

static int delete(const char *root, const char *id, int force) {
    char path[256];
    int directory = open_state(root, id);
    pid_t pid = read_state(directory, id, 0);
    int pidfd = force ? syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pidfd >= 0) {
        struct pollfd end = {.fd = pidfd, .events = POLLIN};
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        poll(&end, 1, 10000);
    } else if (kill(pid, 0) == 0) {
        errno = EBUSY, die(id);
    }
    remove_cgroup(id);
    TRY(unlinkat(directory, "gate", 0));
    TRY(unlinkat(directory, "pid", 0));
    snprintf(path, sizeof path, "%s/%s", root, id);
    TRY(rmdir(path));
    return 0;
}

static void join(int pidfd, const char *program) {
    setsid();
    TRY(setns(pidfd, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP));
    TRY(chdir("/"));
    restrict_process(0);
    execute(program, NULL);
}

static int exec(const char *root, const char *id, const char *program) {
    char path[256];
    pid_t init = read_state(open_state(root, id), id, 0);
    int pidfd = syscall(SYS_pidfd_open, init, 0);
    TRY(pidfd);
    snprintf(path, sizeof path, CGROUP_PARENT "%s", id);
    int cgroup = open(path, O_DIRECTORY | O_CLOEXEC);
    TRY(cgroup);
    TRY(setns(pidfd, CLONE_NEWPID));
    struct clone_args args = {.flags = CLONE_INTO_CGROUP | CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD,
        .cgroup = cgroup};
    long pid = clone3(&args);
    if (pid == 0)
        join(pidfd, program);
    if (pid < 0)
        errno = -pid, die("clone3");
    return wait_for(pid);
}

static int list(const char *root) {
    DIR *all = opendir(root);
    struct dirent *entry;
    if (!all)
        die(root);
    while ((entry = readdir(all)))
        if (entry->d_name[0] != '.') {
            int directory = openat(dirfd(all), entry->d_name, O_DIRECTORY | O_CLOEXEC);
            read_state(directory, entry->d_name, 1);
            close(directory);
        }
    return 0;
}

static int cgroups(int count) {
    while (count-- > 0) {
        close(make_cgroup("bench-cgroup"));
        remove_cgroup("bench-cgroup");
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    const char *root = argv[2], *verb = argv[3], *id = argv[argc - 1];
    if (!strcmp(verb, "run"))
        return run(argv[5], id);
    if (!strcmp(verb, "create"))
        return create(root, argv[5], argv[7], id);
    if (!strcmp(verb, "start"))
        return start(root, id);
    if (!strcmp(verb, "delete"))
        return delete(root, id, argc > 5);
    if (!strcmp(verb, "exec"))
        return exec(root, argv[4], id);
    if (!strcmp(verb, "state"))
        return read_state(open_state(root, id), id, 1) < 0;
    if (!strcmp(verb, "list"))
        return list(root);
    if (!strcmp(verb, "cgroups"))
        return cgroups(atoi(id));
    return 2;
}
