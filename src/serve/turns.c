/* Numbers are drawn and called up. */
#include "serve/turns.h"

void turns_open(struct turns *turns) {
    pthread_mutex_init(&turns->mutex, NULL);
    pthread_cond_init(&turns->changed, NULL);
    turns->next = turns->current = 0;
}

void turns_close(struct turns *turns) {
    pthread_mutex_destroy(&turns->mutex);
    pthread_cond_destroy(&turns->changed);
}

void turn_take(struct turns *turns) {
    pthread_mutex_lock(&turns->mutex);
    const uint64_t number = turns->next++;
    while (number != turns->current) pthread_cond_wait(&turns->changed, &turns->mutex);
    pthread_mutex_unlock(&turns->mutex);
}

void turn_end(struct turns *turns) {
    pthread_mutex_lock(&turns->mutex);
    turns->current++;
    pthread_cond_broadcast(&turns->changed);
    pthread_mutex_unlock(&turns->mutex);
}
