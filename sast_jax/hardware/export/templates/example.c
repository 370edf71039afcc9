/* Answers the recordings of a file, such as recordings.bin: WINDOWS times NETWORK_STEPS frames
   each, of NETWORK_FRAME_BYTES bytes; see network_frame. Prints the class of each recording, and at the end,
   to stderr, the microseconds that one took.

   cc -std=c99 -O2 -o example example.c network.c && ./example recordings.bin */

#include <stdio.h>
#include <time.h>

#include "network.h"

#define WINDOWS $windows

int main(int count, char **names)
{
    static uint8_t frames[WINDOWS * NETWORK_STEPS][NETWORK_FRAME_BYTES];
    FILE *file = count == 2 ? fopen(names[1], "rb") : NULL;
    unsigned long recordings = 0;
    clock_t taken = 0;
    if (!file) {
        fprintf(stderr, "name a file with frames: example recordings.bin\n");
        return 2;
    }
    while (fread(frames, sizeof frames, 1, file) == 1) {
        clock_t start = clock();
        uint32_t answer;
        network_begin();
        for (int t = 0; t < WINDOWS * NETWORK_STEPS; t++) {
            if (t % NETWORK_STEPS == 0)
                network_rest();
            network_frame(frames[t]);
        }
        answer = network_answer();
        taken += clock() - start;
        recordings++;
        printf("%lu\n", (unsigned long)answer);
    }
    fclose(file);
    if (recordings)
        fprintf(stderr, "%.1f\n", 1e6 * (double)taken / CLOCKS_PER_SEC / (double)recordings);
    return 0;
}
