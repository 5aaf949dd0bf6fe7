/*
 * A cache of the host's texts.
 */
#include "texts.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

struct PvText {
    guint ref_count;   /* atomic */
    guint64 read_nsec; /* CLOCK_MONOTONIC before it was read */
    char str[];
};

struct PvTexts {
    PvHost *host;
    pthread_mutex_t lock;
    PvText *texts[PV_HOST_FILE_COUNT]; /* protected by lock */
};

const char *pv_text_str(const PvText *text)
{
    return text->str;
}

static PvText *text_new(const GString *str, guint64 read_nsec)
{
    PvText *text = g_malloc(sizeof *text + str->len + 1);
    text->ref_count = 1;
    text->read_nsec = read_nsec;
    memcpy(text->str, str->str, str->len + 1);
    return text;
}

static PvText *text_ref(PvText *text)
{
    __atomic_add_fetch(&text->ref_count, 1, __ATOMIC_RELAXED);
    return text;
}

void pv_text_unref(PvText *text)
{
    if (text != NULL && __atomic_sub_fetch(&text->ref_count, 1, __ATOMIC_ACQ_REL) == 0)
        g_free(text);
}

PvTexts *pv_texts_new(PvHost *host)
{
    PvTexts *texts = g_new0(PvTexts, 1);
    texts->host = host;
    pthread_mutex_init(&texts->lock, NULL);
    return texts;
}

void pv_texts_free(PvTexts *texts)
{
    if (texts == NULL)
        return;
    for (guint i = 0; i < PV_HOST_FILE_COUNT; i++)
        pv_text_unref(texts->texts[i]);
    pthread_mutex_destroy(&texts->lock);
    g_free(texts);
}

static guint64 now_nsec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (guint64)now.tv_sec * NSEC_PER_SEC + (guint64)now.tv_nsec;
}

int pv_texts_get(PvTexts *texts, PvHostFile file, guint64 max_age_nsec, PvText **ret_text)
{
    guint64 now = now_nsec();
    PvText *text = NULL;

    pthread_mutex_lock(&texts->lock);
    if (texts->texts[file] != NULL && now - texts->texts[file]->read_nsec <= max_age_nsec)
        text = text_ref(texts->texts[file]);
    pthread_mutex_unlock(&texts->lock);

    if (text == NULL) {
        g_autoptr(GString) str = g_string_new(NULL);
        int result = pv_host_read(texts->host, file, str);
        if (result < 0)
            return result;
        text = text_new(str, now);
        pthread_mutex_lock(&texts->lock);
        PvText *old = texts->texts[file];
        texts->texts[file] = text_ref(text);
        pthread_mutex_unlock(&texts->lock);
        pv_text_unref(old);
    }
    *ret_text = text;
    return 0;
}
