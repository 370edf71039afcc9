/* How the network runs. The numbers stand above. */

typedef struct {                         /* how a kernel moves along rows, or columns */
    uint32_t entering, leaving;          /* pixels of the maps before and after */
    uint32_t size, stride, before;       /* taps of the kernel, its step, zeros before the map */
} along_t;

typedef struct {
    uint32_t outputs, neurons;           /* outputs: neurons of a full layer, channels of a map */
    along_t rows, columns;               /* of a convolution; a full layer has kernels of size 0 */
    uint32_t channels;                   /* of the map that enters a convolution */
    const uint8_t *weights;
    const int32_t *biases;
    const potential_t *thresholds;
    const int8_t *points;
    potential_t *potentials;
} layer_t;

static const layer_t layers[LAYERS] = {LAYER_TABLE};

static int32_t sums[MOST_NEURONS + 8];   /* a row of weights is written in groups of eight */
static NETWORK_ADDRESS fired[2][MOST_NEURONS];
static SCORE scores[NETWORK_CLASSES];

/* x / 2^shift, rounded down; shifting a negative number is left to the compiler in C99 */
static int32_t down(int32_t x, int shift)
{
    return x < 0 ? ~(~x >> shift) : x >> shift;
}

static wide_t wide_down(wide_t x, int shift)
{
    return x < 0 ? ~(~x >> shift) : x >> shift;
}

static int32_t clipped(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* Adds a row of weights: eight of them lie in WEIGHT_BITS bytes, the first in the lowest bits. */
static void add_row(int32_t *into, const uint8_t *row, uint32_t outputs)
{
#if WEIGHT_BITS == 8
    for (uint32_t o = 0; o < outputs; o++)
        into[o] += (int32_t)(row[o] ^ 128) - 128;
#else
    for (uint32_t o = 0; o < outputs; o += 8) {
        packed_t word = 0;
        for (int k = 0; k < WEIGHT_BITS; k++)
            word |= (packed_t)row[k] << 8 * k;
        for (int k = 0; k < 8; k++) {
            int32_t part = (int32_t)(word >> WEIGHT_BITS * k & ((1 << WEIGHT_BITS) - 1));
            into[o + (uint32_t)k] += (part ^ WEIGHT_SIGN) - WEIGHT_SIGN;
        }
        row += WEIGHT_BITS;
    }
#endif
}

/* Only inputs that fired are met: each adds its rows of weights. */
static void add_inputs(const layer_t *layer, const NETWORK_ADDRESS *active, uint32_t count)
{
    uint32_t bytes = (layer->outputs + 7) / 8 * WEIGHT_BITS;
    for (uint32_t n = 0; n < layer->neurons; n += layer->outputs)
        for (uint32_t o = 0; o < layer->outputs; o++)
            sums[n + o] = layer->biases[o];
    if (!layer->rows.size) {
        for (uint32_t a = 0; a < count; a++)
            add_row(sums, layer->weights + active[a] * bytes, layer->outputs);
        return;
    }
    const along_t *rows = &layer->rows, *columns = &layer->columns;
    for (uint32_t a = 0; a < count; a++) {
        uint32_t channel = active[a] % layer->channels, place = active[a] / layer->channels;
        uint32_t y = place / columns->entering + rows->before;
        uint32_t x = place % columns->entering + columns->before;
        /* Output (r, c) meets this input with tap (y - r stride, x - c stride), if there is one. */
        for (uint32_t i = y % rows->stride; i < rows->size && i <= y; i += rows->stride) {
            uint32_t r = (y - i) / rows->stride;
            if (r >= rows->leaving)
                continue;
            for (uint32_t j = x % columns->stride; j < columns->size && j <= x;
                 j += columns->stride) {
                uint32_t c = (x - j) / columns->stride;
                uint32_t tap = (i * columns->size + j) * layer->channels + channel;
                if (c < columns->leaving)
                    add_row(sums + (r * columns->leaving + c) * layer->outputs,
                            layer->weights + tap * bytes, layer->outputs);
            }
        }
    }
}

/* A sum in units of the membrane word. */
static int32_t placed(int32_t sum, int point)
{
    if (point >= 0)
        return clipped(sum, down(LOW, point), down(HIGH, point)) * ((int32_t)1 << point);
    return clipped(down(sum + ((int32_t)1 << (-point - 1)), -point), LOW, HIGH);
}

/* One step of a layer's neurons; lists those that fire and returns their number. */
static uint32_t update(const layer_t *layer, NETWORK_ADDRESS *now)
{
    uint32_t count = 0, o = 0;
    for (uint32_t n = 0; n < layer->neurons; n++) {
        wide_t v = layer->potentials[n], threshold = layer->thresholds[o];
        if (v > threshold)
            v = RESET(v, threshold);
        v = LEAK(v) + placed(sums[n], layer->points[o]);
        v = v < LOW ? LOW : v > HIGH ? HIGH : v;
        layer->potentials[n] = (potential_t)v;
        if (v > threshold)
            now[count++] = (NETWORK_ADDRESS)n;
        o = o + 1 == layer->outputs ? 0 : o + 1;
    }
    return count;
}

void network_rest(void)
{
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint32_t n = 0; n < layers[l].neurons; n++)
            layers[l].potentials[n] = 0;
}

void network_begin(void)
{
    network_rest();
    for (uint32_t k = 0; k < NETWORK_CLASSES; k++)
        scores[k] = 0;
}

void network_step(const NETWORK_ADDRESS *active, uint32_t count)
{
    for (uint32_t l = 0; l < LAYERS; l++) {
        NETWORK_ADDRESS *now = fired[l % 2];
        add_inputs(&layers[l], active, count);
        count = update(&layers[l], now);
        active = now;
    }
#if COUNTS_SPIKES
    for (uint32_t a = 0; a < count; a++)
        scores[active[a]]++;
#else
    for (uint32_t k = 0; k < NETWORK_CLASSES; k++)
        scores[k] += sums[k];
#endif
}

void network_frame(const uint8_t *frame)
{
    static NETWORK_ADDRESS pixels[NETWORK_INPUTS];
    uint32_t count = 0;
    for (uint32_t at = 0; at < NETWORK_FRAME_BYTES; at++)
        for (uint8_t bits = frame[at], bit = 0; bits; bits = (uint8_t)(bits << 1), bit++)
            if ((bits & 128) && 8 * at + bit < NETWORK_INPUTS)
                pixels[count++] = (NETWORK_ADDRESS)(8 * at + bit);
    network_step(pixels, count);
}

uint32_t network_answer(void)
{
    uint32_t best = 0;
    for (uint32_t k = 1; k < NETWORK_CLASSES; k++)
        if (SCORED(k) > SCORED(best))
            best = k;
    return best;
}

int32_t network_potential(uint32_t layer, uint32_t neuron)
{
    return layers[layer].potentials[neuron];
}

int network_fired(uint32_t layer, uint32_t neuron)
{
    const layer_t *own = &layers[layer];
    return own->potentials[neuron] > own->thresholds[neuron % own->outputs];
}
