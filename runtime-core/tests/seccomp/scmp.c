// Asks libseccomp, for tests: `scmp numbers` resolves names, `scmp compile` makes a program.
//
// numbers: lines "TOKEN NAME"; answers one number a line (-1: unknown; below: a multiplexed call).
// compile: lines "default ACTION", "native TOKEN", "arch TOKEN", "rule ACTION NAME [ARG OP A B]...";
//          the program goes to stdout; exit 3 with the errno on stderr where libseccomp refuses.
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int numbers(void)
{
    unsigned token;
    char name[64];
    while (scanf("%u %63s", &token, name) == 2)
        printf("%d\n", seccomp_syscall_resolve_name_arch(token, name));
    return 0;
}

static int check(int result)
{
    if (result == 0)
        return 0;
    fprintf(stderr, "%d\n", -result);
    exit(3);
}

static int rule(scmp_filter_ctx context, char *rest)
{
    struct scmp_arg_cmp args[6];
    unsigned action, count = 0, arg, op;
    unsigned long long a, b;
    char name[64];
    int used = 0, number;
    if (sscanf(rest, "%u %63s%n", &action, name, &used) != 2)
        return 2;
    for (rest += used; count < 6 && sscanf(rest, "%u %u %llu %llu%n", &arg, &op, &a, &b, &used) == 4; rest += used)
        args[count++] = (struct scmp_arg_cmp){ arg, op, a, b };
    number = seccomp_syscall_resolve_name(name);
    if (number != __NR_SCMP_ERROR)
        check(seccomp_rule_add_array(context, action, number, count, args));
    return 0;
}

static int compile(void)
{
    scmp_filter_ctx context = NULL;
    char line[4096];
    unsigned value;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "default %u", &value) == 1)
            context = seccomp_init(value);
        else if (sscanf(line, "native %u", &value) == 1) {
            if (value != seccomp_arch_native()) {
                check(seccomp_arch_remove(context, SCMP_ARCH_NATIVE));
                check(seccomp_arch_add(context, value));
            }
        } else if (sscanf(line, "arch %u", &value) == 1)
            check(seccomp_arch_add(context, value));
        else if (strncmp(line, "rule ", 5) || rule(context, line + 5))
            return 2;
    }
    return check(seccomp_export_bpf(context, STDOUT_FILENO));
}

int main(int argc, char **argv)
{
    alarm(4); /* on some profiles it does not come to an end */
    return argc == 2 && !strcmp(argv[1], "numbers") ? numbers() : compile();
}
