/* The 25 major diagnostic categories and what the catalogs list beside them. */
#include "drg/mdc.h"
#include <stddef.h>
#include <string.h>

const char *mdc_name(const char *mdc) {
    static const struct {
        const char *mdc, *name;
    } names[] = {{"PRE", "Transplants, ECMO, tracheostomy"},
                 {"01", "Nervous system"},
                 {"02", "Eye"},
                 {"03", "Ear, nose, mouth, throat"},
                 {"04", "Respiratory"},
                 {"05", "Circulatory"},
                 {"06", "Digestive"},
                 {"07", "Liver, bile ducts, pancreas"},
                 {"08", "Musculoskeletal"},
                 {"09", "Skin and breast"},
                 {"10", "Endocrine and metabolic"},
                 {"11", "Kidney and urinary tract"},
                 {"12", "Male reproductive"},
                 {"13", "Female reproductive"},
                 {"14", "Pregnancy and childbirth"},
                 {"15", "Newborns"},
                 {"16", "Blood and immune"},
                 {"17", "Myeloproliferative"},
                 {"18", "Infections"},
                 {"19", "Mental"},
                 {"20", "Alcohol and drugs"},
                 {"21", "Injury and poisoning"},
                 {"22", "Burns"},
                 {"23", "Other health factors"},
                 {"24", "Multiple trauma"},
                 {"25", "HIV"},
                 {"ALL", "Any principal diagnosis"},
                 {"-", "Ungroupable"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].mdc, mdc) == 0) return names[i].name;
    }
    return "";
}
