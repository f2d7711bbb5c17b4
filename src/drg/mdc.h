/* Short names of the major diagnostic categories (CMS, MS-DRG Definitions Manual), for tables and charts. */
#ifndef CASEMIX_DRG_MDC_H
#define CASEMIX_DRG_MDC_H

/* "04" gives "Respiratory"; an MDC that is not in the manual gives "". */
const char *mdc_name(const char *mdc);

#endif
