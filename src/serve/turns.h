/* A lock that is given in the order of asking: the models of a server take turns at the processors. An ordinary mutex
 * goes to whoever is awake, so that a model that writes would keep it from step to step while notes wait. */
#ifndef CASEMIX_SERVE_TURNS_H
#define CASEMIX_SERVE_TURNS_H

#include <pthread.h>
#include <stdint.h>

struct turns {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t next, current; /* the number that the next to ask gets; whose turn it is */
};

void turns_open(struct turns *turns);
void turns_close(struct turns *turns);
void turn_take(struct turns *turns);
void turn_end(struct turns *turns);

#endif
