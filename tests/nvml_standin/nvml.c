/* A stand-in for libnvidia-ml.so.1 with two devices, for machines without a GPU.
 * NVML_STANDIN=no-utilisation: that query is not supported.
 * NVML_STANDIN=lost: after twenty samples the first device is gone. */
#include <stdlib.h>
#include <string.h>

#define SUCCESS 0
#define NOT_SUPPORTED 3
#define GPU_IS_LOST 15

static int samples = 0;
static unsigned long long energy_mj[2] = {5000000, 7000000};

static int mode(const char *name) {
  const char *set = getenv("NVML_STANDIN");
  return set && !strcmp(set, name);
}
static int lost(void *device) {
  return mode("lost") && (long)device == 1 && samples > 20;
}

int nvmlInitWithFlags(unsigned flags) { return SUCCESS; }
int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) {
  return code == NOT_SUPPORTED ? "Not Supported" : "GPU is lost";
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = (void *)(long)(index + 1);
  return SUCCESS;
}
int nvmlDeviceGetName(void *device, char *name, unsigned length) {
  strncpy(name, "NVIDIA H100 80GB HBM3", length);
  return SUCCESS;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
  strncpy(uuid, (long)device == 1 ? "GPU-aaaa" : "GPU-bbbb", length);
  return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
  if (lost(device)) return GPU_IS_LOST;
  if (mode("no-energy")) return NOT_SUPPORTED;
  *mj = energy_mj[(long)device - 1] += 1234;
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
  samples++;
  if (lost(device)) return GPU_IS_LOST;
  if (mode("no-utilisation")) return NOT_SUPPORTED;
  rates[0] = 50;
  rates[1] = 10;
  return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) {
  if (lost(device)) return GPU_IS_LOST;
  *mw = 200000;
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
  if (lost(device)) return GPU_IS_LOST;
  memory[0] = 80ULL << 30;
  memory[1] = 79ULL << 30;
  memory[2] = 1ULL << 30;
  return SUCCESS;
}
