/* A scripted NVML: the tests compile it as libnvidia-ml.so.1, and the real pynvml loads it in place of the driver's.

   NVML_SCRIPT holds entries `key=value`, separated by spaces; `key@1=value` is for GPU 1 alone.
     gpus=2                               how many there are (1)
     utilization=0,50,100                 what the calls give, one after the other, then from the front again
     nvmlDeviceGetPowerUsage=fail:3       that call fails with error 3 (NVML_ERROR_NOT_SUPPORTED)
     nvmlDeviceGetPowerUsage=fail:15+4    ... after 4 calls that were answered
     pids=12+34                           the processes with a compute context; pids=12/1+34/2 has each on a MIG instance
     busy=12:40+34:0                      how much of the SMs each used since it was last asked; without it that is not supported
   The waves are utilization, memory_utilization, memory_used, power_mw, sm_clock_mhz, temperature_c, energy_mj and
   event_reasons (the bits of nvmlClocksEventReasons). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int index; } *Device;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;

typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute_instance; } Process;

typedef struct { unsigned pid; unsigned long long time_us; unsigned sm, memory, encoder, decoder; } ProcessUtilization;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, MOST_GPUS = 8, NO_INSTANCE = -1 };

static struct { int index; } devices[MOST_GPUS] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};

/* The value of `key=` in the script, at its first character; NULL where there is none. */
static const char *find(const char *key) {
    const char *script = getenv("NVML_SCRIPT");
    size_t length = strlen(key);
    for (const char *at = script; at && *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (!strncmp(at, key, length) && at[length] == '=')
            return at + length + 1;
    return NULL;
}

static const char *entry(const char *key, int gpu) {
    char own[128];
    snprintf(own, sizeof own, "%s@%d", key, gpu);
    const char *value = find(own);
    return value ? value : find(key);
}

/* The value of the wave at the n-th call. */
static unsigned long long wave(const char *key, int gpu, unsigned n, unsigned long long otherwise) {
    const char *first = entry(key, gpu);
    if (!first)
        return otherwise;
    unsigned count = 1;
    for (const char *at = first; *at && *at != ' '; at++)
        count += *at == ',';
    for (n %= count; n > 0; n--)
        first = strchr(first, ',') + 1;
    return strtoull(first, NULL, 10);
}

/* The error that the script has for the n-th call of a function. */
static int failure(const char *function, int gpu, unsigned n) {
    const char *value = entry(function, gpu);
    int code = SUCCESS;
    unsigned answered = 0;
    if (value && sscanf(value, "fail:%d+%u", &code, &answered) >= 1 && n >= answered)
        return code;
    return SUCCESS;
}

/* Opens the body of a call on a device: `gpu` and `n`, the count of earlier calls, are at hand; leaves where it is to fail. */
#define CALL(device)                                        \
    static unsigned calls[MOST_GPUS];                       \
    if (!(device))                                          \
        return INVALID_ARGUMENT;                            \
    int gpu = (device)->index;                              \
    unsigned n = calls[gpu]++;                              \
    int code = failure(__func__, gpu, n);                   \
    if (code)                                               \
        return code

int nvmlInitWithFlags(unsigned flags) { return (void)flags, failure(__func__, 0, 0); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case 3: return "Not Supported";
    case 10: return "Timeout";
    case 15: return "GPU is lost";
    default: return "Scripted Error";
    }
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "550.54.15");
    return failure(__func__, 0, 0);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) { return *version = 12040, failure(__func__, 0, 0); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    const char *gpus = find("gpus");
    *count = gpus ? atoi(gpus) : 1;
    return failure(__func__, 0, 0);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    *device = (Device)&devices[index];
    return failure(__func__, index, 0);
}

int nvmlDeviceGetName(Device device, char *name, unsigned length) {
    CALL(device);
    snprintf(name, length, "Scripted GPU");
    return (void)n, SUCCESS;
}

int nvmlDeviceGetUUID(Device device, char *uuid, unsigned length) {
    CALL(device);
    snprintf(uuid, length, "GPU-0000000%d", gpu);
    return (void)n, SUCCESS;
}

int nvmlDeviceGetUtilizationRates(Device device, Utilization *rates) {
    CALL(device);
    rates->gpu = wave("utilization", gpu, n, 0);
    rates->memory = wave("memory_utilization", gpu, n, 0);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    CALL(device);
    memory->total = 85899345920;
    memory->used = wave("memory_used", gpu, n, 1073741824);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

/* A call that gives one number. */
#define NUMBER(function, type, key, otherwise)              \
    int function(Device device, type *value) {              \
        CALL(device);                                       \
        *value = wave(key, gpu, n, otherwise);              \
        return SUCCESS;                                     \
    }

NUMBER(nvmlDeviceGetPowerUsage, unsigned, "power_mw", 70000)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "energy_mj", 0)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power_limit_mw", 700000)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "event_reasons", 0)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "event_reasons", 0)
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, "persistence", 1)

/* A call that gives one number for a kind of clock or sensor. */
#define NUMBER_OF(function, key, otherwise)                 \
    int function(Device device, int kind, unsigned *value) {\
        CALL(device);                                       \
        *value = wave(key, gpu, n, otherwise);              \
        return (void)kind, SUCCESS;                         \
    }

NUMBER_OF(nvmlDeviceGetClockInfo, "sm_clock_mhz", 1980)
NUMBER_OF(nvmlDeviceGetMaxClockInfo, "max_clock_mhz", 1980)
NUMBER_OF(nvmlDeviceGetDefaultApplicationsClock, "default_clock_mhz", 1755)
NUMBER_OF(nvmlDeviceGetApplicationsClock, "set_clock_mhz", 1755)
NUMBER_OF(nvmlDeviceGetTemperature, "temperature_c", 35)

int nvmlDeviceGetMigMode(Device device, unsigned *current, unsigned *pending) {
    CALL(device);
    *current = wave("mig", gpu, n, 0);
    *pending = !*current;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    CALL(device);
    *major = 9, *minor = 0;
    return (void)n, SUCCESS;
}

/* Every call tells of a second that no earlier call has told of. */
int nvmlDeviceGetProcessUtilization(Device device, ProcessUtilization *samples, unsigned *count, unsigned long long since) {
    CALL(device);
    const char *at = entry("busy", gpu);
    unsigned found = 0;
    if (!at)
        return NOT_SUPPORTED;
    for (; *at && *at != ' '; found++, at += *at == '+') {
        ProcessUtilization sample = {.time_us = since + 1000000};
        sample.pid = strtoul(at, (char **)&at, 10);
        sample.sm = strtoul(at + 1, (char **)&at, 10);
        if (found < *count)
            samples[found] = sample;
    }
    code = found == 0 ? NOT_FOUND : found > *count ? INSUFFICIENT_SIZE : SUCCESS;
    *count = found;
    return (void)n, code;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, Process *processes) {
    CALL(device);
    const char *at = entry("pids", gpu);
    unsigned found = 0;
    for (; at && *at && *at != ' '; found++, at += *at == '+') {
        Process process = {.instance = NO_INSTANCE, .compute_instance = NO_INSTANCE};
        process.pid = strtoul(at, (char **)&at, 10);
        if (*at == '/')
            process.instance = strtoul(at + 1, (char **)&at, 10);
        if (found < *count)
            processes[found] = process;
    }
    code = found > *count ? INSUFFICIENT_SIZE : SUCCESS;
    *count = found;
    return (void)n, code;
}
