/*
 * The readers as a program, for containers of real managers: reads proc/ of a folder ("/" in a
 * container) until stdin ends. Each byte on stdin says that something is being killed. Exit status
 * 0 when every byte that was read was right.
 */
#include "readers.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    PvtReaders run;
    char byte;

    pvt_readers_start_on(&run, argc > 1 ? argv[1] : "/");
    while (read(STDIN_FILENO, &byte, 1) > 0)
        pvt_readers_note_kill(&run);
    pvt_readers_end(&run);
    return 0;
}
