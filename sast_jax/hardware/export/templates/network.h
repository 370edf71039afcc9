/* A spiking network in integers: $summary.

   network_begin();                         before each recording
   network_frame(frame);                    for each of its NETWORK_STEPS steps, or network_step
   network_answer();                        its class

   If a recording has several windows, call network_rest() between them. */

#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

#define NETWORK_STEPS $steps
#define NETWORK_HEIGHT $height
#define NETWORK_WIDTH $width
#define NETWORK_CHANNELS $channels
#define NETWORK_INPUTS $inputs
#define NETWORK_FRAME_BYTES $frame_bytes
#define NETWORK_CLASSES $classes
#define NETWORK_LAYERS $layers
#define NETWORK_ADDRESS $address

/* All neurons at rest, all scores 0. */
void network_begin(void);

/* All neurons at rest; the scores remain. */
void network_rest(void);

/* One step: the inputs that fire, each once, (row * NETWORK_WIDTH + column) * NETWORK_CHANNELS +
   channel, in any order. */
void network_step(const NETWORK_ADDRESS *active, uint32_t count);

/* The same from a bit for each input, the first one in the highest bit of the first byte. */
void network_frame(const uint8_t *frame);

/* The class with the highest score; of several, the first. */
uint32_t network_answer(void);

/* The membrane potential of a neuron after the last step, and whether it fired in it. */
int32_t network_potential(uint32_t layer, uint32_t neuron);
int network_fired(uint32_t layer, uint32_t neuron);

#endif
