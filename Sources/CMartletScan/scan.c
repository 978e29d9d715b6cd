#include "CMartletScan.h"
