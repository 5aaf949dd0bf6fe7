/*
 * The readers as a program, for containers of real managers: reads proc/ of a folder ("/" in a
 * container) until stdin ends. Exit status 0 when every byte was right.
 */
#include "readers.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    PvtReaders run;
    char byte;

    pvt_readers_start_on(&run, argc > 1 ? argv[1] : "/");
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    pvt_readers_end(&run);
    return 0;
}
