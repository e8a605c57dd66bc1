/* The thread pool: tasks 0 .. n-1 of one job, each done once, by whoever comes first.
 *
 *     pool_run(task, context, n, threads)
 *
 * calls task(context, i) for every i and returns 0 when all are done.  The caller works too.
 * What a task computes never depends on who computes it, so neither do the bits.
 *
 * It returns -1, with a Python exception set, if a signal came meanwhile and its Python handler
 * raised (Ctrl-C).  Tasks that had not begun are then left out, and what the others wrote is to
 * be thrown away.  Signals are looked at between tasks on Python's main thread, where their
 * handlers run, and inside of long tasks that call `pool_stops`.
 *
 * - Workers are made when first asked for.  An idle worker spins for SPIN_NS, in the hope
 *   of the next layer, then sleeps until woken.
 * - Thread k begins with the k-th part of the tasks, so that from one layer to the next a CPU
 *   finds its own rows in its own cache; when it is through, it helps the others.
 * - One job at a time: a second Python thread that comes while the pool is busy does its
 *   own tasks alone, which is always right and never waits.
 * - A worker joins a job through one atomic word (generation, closed, joined).  The caller
 *   closes the word when no task is left and waits only for those that have joined, so a
 *   worker that is asleep, or kept off its CPU, costs nothing.
 * - After fork the child has no workers: it forgets them and makes its own.  It may be forked by
 *   any thread at any time, while other threads' jobs run; those threads do not exist in it.
 * - The caller works too, so a worker on its CPU is worse than none.  Some schedulers wake it
 *   there all the same; so, on Linux, workers may use the CPUs that the caller may use, but
 *   for the one it is on.  That is asked again when the caller has moved.
 * - Workers block every signal: Ctrl-C goes to the Python thread.
 */
#ifndef MINIGRAD_POOL_H
#define MINIGRAD_POOL_H

#include <Python.h>
#include <stdint.h>
#include <time.h>

typedef void (*pool_task)(void *context, ptrdiff_t i);

enum { POOL_MAX = 256, LOOK_NS = 50000000 };    /* a signal may wait for so long */

/* The job that this thread works for: whether it is to end early.  A job inside of a task
 * belongs to the job of that task. */
static __thread int *pool_stopped;
static __thread int pool_asks;          /* whether this thread's signal handlers may run here */
static __thread int64_t pool_looked;    /* and when they last did */

static unsigned long pool_main_thread;  /* Python's, where its signal handlers run */
static int64_t pool_forks;              /* how often this process has become a child */

static inline int64_t pool_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Let Python's signal handlers run.  A child that one of them forks has none of the workers
 * that had begun tasks of this job. */
static void pool_look(void) {
    int *job = pool_stopped;
    int64_t forks = pool_forks;
    PyGILState_STATE state = PyGILState_Ensure();
    pool_stopped = NULL;                /* a kernel that a handler calls is a job of its own */
    int failed = PyErr_CheckSignals();
    pool_stopped = job;
    if (!failed && forks != pool_forks) {
        PyErr_SetString(PyExc_RuntimeError, "a signal handler forked during a kernel, which cannot "
                                            "end in the child; fork between calls");
        failed = 1;
    }
    if (failed) __atomic_store_n(job, 1, __ATOMIC_RELAXED);
    PyGILState_Release(state);
    pool_looked = pool_clock();
}

/* Whether this thread's job is to end early. */
static int pool_stops(void) {
    if (!pool_stopped) return 0;
    if (pool_asks && !*pool_stopped && pool_clock() - pool_looked > LOOK_NS) pool_look();
    return __atomic_load_n(pool_stopped, __ATOMIC_RELAXED);
}

/* All tasks one after the other on this thread. */
static void pool_alone(pool_task task, void *context, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n && !pool_stops(); i++) task(context, i);
}

#if defined(_WIN32)

static void pool_share(pool_task task, void *context, ptrdiff_t n, int threads) {
    (void)threads;
    pool_alone(task, context, n);
}

static void pool_start(void) {}

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { SPIN_NS = 60000, SPINS_BEFORE_YIELD = 4000, MOVES_NS = 1000000 };

#define CLOSED ((uint64_t)1 << 31)
#define JOINED(word) ((word) & (CLOSED - 1))
#define GENERATION(word) ((word) >> 32)

static struct {
    pthread_mutex_t owner;        /* held by the thread whose job runs */
    pthread_mutex_t sleep_lock;
    pthread_cond_t wake;
    int workers, sleeping;
    int cpu;                      /* of the caller, when the workers were told to avoid it */
    int64_t moved;                /* and when that was */
    pthread_t thread[POOL_MAX];
    _Alignas(64) uint64_t word;   /* generation << 32 | closed << 31 | joined */
    pool_task task;
    void *context;
    ptrdiff_t n;
    int *stopped;
    int threads;                  /* worker k joins this job if k < threads; the caller is 0 */
    struct { _Alignas(64) ptrdiff_t next; } part[POOL_MAX];
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER,
          .sleep_lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .cpu = -1,
          .word = CLOSED};

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)

static inline void pool_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static ptrdiff_t pool_part(int k) { return pool.n * k / pool.threads; }

/* What is left of part k. */
static void pool_do_part(int k) {
    ptrdiff_t i, end = pool_part(k + 1);
    while (!pool_stops() && (i = __atomic_fetch_add(&pool.part[k].next, 1, __ATOMIC_RELAXED)) < end)
        pool.task(pool.context, i);
}

/* Thread k: its own part first, then whatever the others have not begun. */
static void pool_work(int k) {
    for (int j = 0; j < pool.threads; j++) pool_do_part((k + j) % pool.threads);
}

/* Join the open job, if there is one that wants worker k. */
static int pool_join(int k) {
    uint64_t word = LOAD(pool.word);
    while (!(word & CLOSED) && k < LOAD(pool.threads))
        if (__atomic_compare_exchange_n(&pool.word, &word, word + 1, 0, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return 1;
    return 0;
}

/* Wait for a generation other than `seen`: spin first, then sleep. */
static uint64_t pool_await(uint64_t seen) {
    int64_t until = pool_clock() + SPIN_NS;
    for (int spins = 1;; spins++) {
        uint64_t now = GENERATION(LOAD(pool.word));
        if (now != seen) return now;
        pool_pause();
        if (spins % 64 == 0 && pool_clock() > until) break;
    }
    pthread_mutex_lock(&pool.sleep_lock);
    __atomic_fetch_add(&pool.sleeping, 1, __ATOMIC_SEQ_CST);
    while (GENERATION(__atomic_load_n(&pool.word, __ATOMIC_SEQ_CST)) == seen)
        pthread_cond_wait(&pool.wake, &pool.sleep_lock);
    __atomic_fetch_sub(&pool.sleeping, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&pool.sleep_lock);
    return GENERATION(LOAD(pool.word));
}

static void *pool_worker(void *number) {
    int k = (int)(intptr_t)number;
    uint64_t seen = 0;
    for (;;) {
        seen = pool_await(seen);
        if (pool_join(k)) {
            pool_stopped = pool.stopped;
            pool_work(k);
            pool_stopped = NULL;
            __atomic_fetch_sub(&pool.word, 1, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}

/* In the child of a fork no worker is alive and no lock is held. */
static void pool_after_fork(void) {
    pthread_mutex_init(&pool.owner, NULL);
    pthread_mutex_init(&pool.sleep_lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.workers = pool.sleeping = 0;
    pool.cpu = -1;
    pool.word = (pool.word & ~(CLOSED - 1)) | CLOSED;
    pool_main_thread = PyThread_get_thread_ident();
    pool_forks++;
}

static void pool_start(void) { pthread_atfork(NULL, NULL, pool_after_fork); }

/* As many workers as asked, or as the system lets us have.  The owner lock is held. */
static void pool_grow(int workers) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.workers < workers) {
        void *number = (void *)(intptr_t)(pool.workers + 1);
        if (pthread_create(&pool.thread[pool.workers], NULL, pool_worker, number)) break;
        pthread_detach(pool.thread[pool.workers]);
        pool.workers++;
        pool.cpu = -1;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Keep the workers off the caller's CPU, where there is another.  The owner lock is held. */
static void pool_make_way(void) {
#if defined(__linux__) && defined(CPU_COUNT)
    int here = sched_getcpu();
    if (here == pool.cpu) return;
    int64_t now = pool_clock();
    if (pool.cpu >= 0 && now - pool.moved < MOVES_NS) return;   /* callers that take turns */
    cpu_set_t mine;
    if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof mine, &mine)) return;
    if (CPU_COUNT(&mine) > 1) CPU_CLR(here, &mine);
    for (int k = 0; k < pool.workers; k++)
        pthread_setaffinity_np(pool.thread[k], sizeof mine, &mine);
    pool.cpu = here;
    pool.moved = now;
#endif
}

static void pool_open(pool_task task, void *context, ptrdiff_t n, int threads) {
    pool.task = task;
    pool.context = context;
    pool.n = n;
    pool.stopped = pool_stopped;
    __atomic_store_n(&pool.threads, threads, __ATOMIC_RELAXED);
    for (int k = 0; k < threads; k++) pool.part[k].next = pool_part(k);
    __atomic_store_n(&pool.word, (GENERATION(pool.word) + 1) << 32, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool.sleeping, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&pool.sleep_lock);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.sleep_lock);
    }
}

static void pool_close(void) {
    __atomic_fetch_or(&pool.word, CLOSED, __ATOMIC_ACQ_REL);
    for (int spins = 1; JOINED(LOAD(pool.word)); spins++) {
        pool_pause();
        if (spins % SPINS_BEFORE_YIELD == 0) sched_yield();
    }
}

/* The tasks on this thread and on workers, if there are any to have. */
static void pool_share(pool_task task, void *context, ptrdiff_t n, int threads) {
    int64_t forks = pool_forks;
    if (threads > POOL_MAX) threads = POOL_MAX;
    if (threads > n) threads = (int)n;
    if (threads < 2 || pthread_mutex_trylock(&pool.owner)) {
        pool_alone(task, context, n);
        return;
    }
    if (pool.workers < threads - 1) pool_grow(threads - 1);
    pool_make_way();
    pool_open(task, context, n, threads);
    pool_work(0);
    pool_close();
    if (forks == pool_forks) pthread_mutex_unlock(&pool.owner);
}

#undef LOAD

#endif

/* Needs no GIL, but a thread that Python knows, or a task of such a thread's job. */
static int pool_run(pool_task task, void *context, ptrdiff_t n, int threads) {
    int stopped = 0;
    if (pool_stopped) {
        pool_share(task, context, n, threads);
        return pool_stopped && *pool_stopped ? -1 : 0;
    }
    pool_stopped = &stopped;
    pool_asks = PyThread_get_thread_ident() == pool_main_thread;
    pool_share(task, context, n, threads);
    pool_stopped = NULL;
    return stopped ? -1 : 0;
}

/* Once, when the core is imported; `main_thread` is Python's number of its main thread. */
static void pool_set_up(unsigned long main_thread) {
    pool_main_thread = main_thread;
    pool_start();
}

#endif
