/* What keeps a pod's namespaces open while its containers come and go. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int signal_) { (void)signal_; _exit(0); }
static void reap(int signal_) { (void)signal_; while (waitpid(-1, NULL, WNOHANG) > 0) {} }

int main(void) {
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
