/*
 * Runs a program one instruction at a time and writes the address of every instruction it came to, of its own text and
 * its first process only: how scripts/hot-sections.sh finds the functions that the verbs of `runtime` use.
 *
 *   step FILE PROGRAM [ARGUMENT…]     appends to FILE, one hexadecimal address a line
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a program at a fixed address has its text. */
#define FIRST 0x200000UL
#define LAST 0x800000UL

static unsigned char seen[LAST - FIRST];

int main(int count, char **argv) {
    if (count < 3) {
        fprintf(stderr, "usage: step FILE PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(argv[2], argv + 2);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        struct user_regs_struct registers;
        ptrace(PTRACE_GETREGS, child, 0, &registers);
        if (registers.rip >= FIRST && registers.rip < LAST)
            seen[registers.rip - FIRST] = 1;
        long signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        ptrace(PTRACE_SINGLESTEP, child, 0, signal);
    }
    FILE *file = fopen(argv[1], "a");
    for (unsigned long at = 0; file && at < LAST - FIRST; at++)
        if (seen[at])
            fprintf(file, "%lx\n", FIRST + at);
    return file && fclose(file) == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
