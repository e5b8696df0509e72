// Runs inside containers of the tests: makes the calls its arguments name and says what came of them.
//
//   call:NR[:ARG]...   the result, or -errno
//   thread:NR          the same in a second thread; then whether the first one is still there
//   trap:NR            the SIGSYS the call raises
//   trace:NR           the call by a traced child: what the tracer is told
//   status             filter mode and no_new_privs of this process
//   wait               one byte of standard input
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long a, long b)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%s %ld %ld\n", what, a, b);
    if (write(1, line, length) != length)
        _exit(90);
}

static long make(char *text)
{
    long part[7] = {0};
    for (int at = 0; at < 7 && text; at++) {
        part[at] = strtoul(text, &text, 0);
        text = *text == ':' ? text + 1 : NULL;
    }
    long result = syscall(part[0], part[1], part[2], part[3], part[4], part[5], part[6]);
    return result == -1 ? -errno : result;
}

static void *in_thread(void *text)
{
    say("thread", make(text), 0);
    return NULL;
}

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)context;
    say("trapped", signal, info->si_syscall);
    say("arch", info->si_errno, info->si_arch);
}

static void traced(char *text)
{
    int status;
    unsigned long message = 0;
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        _exit(make(text) == -ENOSYS ? 38 : 0);
    }
    waitpid(child, &status, 0);
    ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    ptrace(PTRACE_GETEVENTMSG, child, 0, &message);
    say("event", status >> 16, message);
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    say("child", WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    for (int at = 1; at < argc; at++) {
        char *argument = strchr(argv[at], ':');
        argument = argument ? argument + 1 : argv[at];
        if (!strncmp(argv[at], "call:", 5))
            say("call", make(argument), 0);
        else if (!strncmp(argv[at], "thread:", 7)) {
            pthread_t thread;
            pthread_create(&thread, NULL, in_thread, argument);
            pthread_join(thread, NULL);
            say("alive", 1, 0);
        } else if (!strncmp(argv[at], "trap:", 5)) {
            struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
            sigaction(SIGSYS, &action, NULL);
            make(argument);
        } else if (!strncmp(argv[at], "trace:", 6))
            traced(argument);
        else if (!strcmp(argv[at], "status"))
            say("status", prctl(PR_GET_SECCOMP, 0, 0, 0, 0), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        else if (!strcmp(argv[at], "wait")) {
            char byte;
            if (read(0, &byte, 1) < 0)
                return 91;
        } else
            return 92;
    }
    return 0;
}
