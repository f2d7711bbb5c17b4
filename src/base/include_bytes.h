/* A file taken into the program byte by byte, so that the program runs from any folder. The assembler's .incbin does it
 * in gcc and clang alike; a C array of a megabyte would take the compiler seconds. The build runs from the root of the
 * project. Declares SYMBOL and SYMBOL_end; the Makefile has to name the file as a dependency. */
#ifndef CASEMIX_BASE_INCLUDE_BYTES_H
#define CASEMIX_BASE_INCLUDE_BYTES_H

#define INCLUDE_BYTES(symbol, path)                                                      \
    __asm__(".section .rodata\n.balign 16\n" #symbol ":\n.incbin \"" path "\"\n" #symbol \
            "_end:\n.byte 0\n.previous\n");                                              \
    extern const char symbol[];                                                          \
    extern const char symbol##_end[];

#endif
