/* Where the frames of a crash lie: modules out of /proc/self/maps, names and build ids out of the modules' files.
 *
 * Runs in the handler of a fatal signal (_snakepit_crash.c): system calls and memory that is there already, nothing else. The files are looked at
 * in the worker, not in the host: what a damaged or replaced one does to its reader, it does to a process that is dying anyway.
 *
 * Failure: a frame without a module, or without a name. A fault (a file that was cut off meanwhile) ends the part. */
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "_snakepit_crash.h"

#if UINTPTR_MAX > UINT32_MAX
#define NATIVE_CLASS ELFCLASS64
#define ELF(name) Elf64_##name
#define SYMBOL_TYPE ELF64_ST_TYPE
#else
#define NATIVE_CLASS ELFCLASS32
#define ELF(name) Elf32_##name
#define SYMBOL_TYPE ELF32_ST_TYPE
#endif
#define LOOK_AT_CLOCK 4096 /* symbols in between */

/* From pc back to the instruction that was run. */
static uint64_t step_back(const struct crash_page *page, uint32_t frame)
{
    return page->frames[frame].exact == 0;
}

static uint64_t place_of(const struct crash_page *page, uint32_t frame)
{
    return page->frames[frame].pc - step_back(page, frame);
}

/* ---- modules ---- */

static const char *read_hex(const char *p, const char *end, uint64_t *ret)
{
    *ret = 0;
    for (; p < end; p++) {
        int digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (digit < 0)
            break;
        *ret = *ret << 4 | (uint64_t)digit;
    }
    return p;
}

static uint16_t module_of(struct crash_page *page, struct crash_room *room, const char *path, size_t n)
{
    for (uint32_t i = 0; i < page->modules_n; i++)
        if (strlen(room->path[i]) == n && memcmp(room->path[i], path, n) == 0)
            return (uint16_t)(i + 1);
    if (page->modules_n == CRASH_MODULES || n >= sizeof room->path[0])
        return 0;
    uint32_t i = page->modules_n++;
    memcpy(room->path[i], path, n);
    room->path[i][n] = '\0';
    size_t skip = n >= CRASH_PATH ? n - (CRASH_PATH - 1) : 0;
    memcpy(page->modules[i].path, path + skip, n - skip + 1);
    page->modules[i].path[n - skip] = '\0';
    return (uint16_t)(i + 1);
}

/* "7f00-7f10 r-xp 0001000 08:01 123    /usr/lib/x.so". false: a mapping of nothing that has a name. */
static bool read_mapping(const char *p, const char *end, struct crash_mapping *ret)
{
    p = read_hex(p, end, &ret->from);
    p = read_hex(p + 1, end, &ret->to);
    while (p < end && *p == ' ')
        p++;
    ret->runs = end - p > 2 && p[2] == 'x';
    while (p < end && *p != ' ')
        p++;
    p = read_hex(p + 1, end, &ret->offset);
    const char *path = p < end ? memchr(p, '/', (size_t)(end - p)) : NULL;
    const char *special = p < end ? memchr(p, '[', (size_t)(end - p)) : NULL;
    if (path == NULL || (special != NULL && special < path))
        path = special;
    ret->path = path;
    ret->path_n = path != NULL ? (size_t)(end - path) : 0;
    return path != NULL;
}

void crash_each_mapping(struct crash_room *room, void (*fn)(const struct crash_mapping *m, void *arg), void *arg)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t got;
    while (fd >= 0 && (got = read(fd, room->maps + n, sizeof room->maps - n)) > 0) {
        n += (size_t)got;
        char *line = room->maps, *end;
        while ((end = memchr(line, '\n', n - (size_t)(line - room->maps))) != NULL) {
            struct crash_mapping mapping;
            if (read_mapping(line, end, &mapping))
                fn(&mapping, arg);
            line = end + 1;
        }
        n -= (size_t)(line - room->maps);
        memmove(room->maps, line, n);
        if (n == sizeof room->maps) /* a line that is no line */
            break;
    }
    if (fd >= 0)
        close(fd);
}

struct placing {
    struct crash_page *page;
    struct crash_room *room;
};

static void place_frames(const struct crash_mapping *m, void *arg)
{
    const struct placing *p = arg;
    struct crash_page *page = p->page;
    for (uint32_t i = 0; i < page->frames_n; i++) {
        uint64_t at = place_of(page, i);
        if (at < m->from || at >= m->to)
            continue;
        page->frames[i].module = module_of(page, p->room, m->path, m->path_n);
        page->frames[i].offset = page->frames[i].pc - m->from + m->offset;
    }
}

void crash_find_modules(struct crash_page *page, struct crash_room *room)
{
    struct placing p = {page, room};
    crash_each_mapping(room, place_frames, &p);
}

/* ---- names ---- */

struct image {
    const uint8_t *data;
    size_t n;
    const ELF(Ehdr) * header;
    const ELF(Shdr) * sections;
};

static const void *part_of(const struct image *m, uint64_t at, uint64_t n)
{
    return at <= m->n && n <= m->n - at ? m->data + at : NULL;
}

/* What it returns is let go by close_image. */
static bool map_image(struct image *m, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    void *map = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (map == MAP_FAILED)
        return false;
    *m = (struct image){.data = map, .n = (size_t)size};
    return true;
}

static void close_image(const struct image *m)
{
    munmap((void *)(uintptr_t)m->data, m->n);
}

static bool read_header(struct image *m)
{
    m->header = part_of(m, 0, sizeof *m->header);
    if (m->header == NULL || memcmp(m->header->e_ident, ELFMAG, SELFMAG) != 0 || m->header->e_ident[EI_CLASS] != NATIVE_CLASS ||
        m->header->e_shentsize != sizeof(ELF(Shdr)) || m->header->e_phentsize != sizeof(ELF(Phdr)))
        return false;
    m->sections = part_of(m, m->header->e_shoff, (uint64_t)m->header->e_shnum * sizeof(ELF(Shdr)));
    return true;
}

/* Where the linker has put what stands at that place of the file; 0: nowhere. */
static uint64_t address_of(const struct image *m, uint64_t offset)
{
    const ELF(Phdr) *p = part_of(m, m->header->e_phoff, (uint64_t)m->header->e_phnum * sizeof *p);
    for (unsigned i = 0; p != NULL && i < m->header->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && offset >= p[i].p_offset && offset - p[i].p_offset < p[i].p_filesz)
            return offset - p[i].p_offset + p[i].p_vaddr;
    return 0;
}

static void find_build_id(const struct image *m, struct crash_module *module)
{
    const ELF(Phdr) *p = part_of(m, m->header->e_phoff, (uint64_t)m->header->e_phnum * sizeof *p);
    for (unsigned i = 0; p != NULL && i < m->header->e_phnum; i++) {
        const uint8_t *notes = p[i].p_type == PT_NOTE ? part_of(m, p[i].p_offset, p[i].p_filesz) : NULL;
        for (uint64_t at = 0; notes != NULL && at + sizeof(ELF(Nhdr)) <= p[i].p_filesz;) {
            ELF(Nhdr) note;
            memcpy(&note, notes + at, sizeof note);
            uint64_t name = at + sizeof note, desc = name + ((note.n_namesz + 3u) & ~3u);
            at = desc + ((note.n_descsz + 3u) & ~3u);
            if (at > p[i].p_filesz)
                break;
            if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != 4 || memcmp(notes + name, "GNU", 4) != 0)
                continue;
            module->build_id_n = note.n_descsz < CRASH_BUILD_ID ? note.n_descsz : CRASH_BUILD_ID;
            memcpy(module->build_id, notes + desc, module->build_id_n);
            return;
        }
    }
}

static void take_name(struct crash_page *page, struct crash_frame *frame, const char *name, const char *end)
{
    size_t n = name < end ? strnlen(name, (size_t)(end - name)) : 0;
    if (n == 0 || n >= sizeof page->names - page->names_n)
        return;
    memcpy(page->names + page->names_n, name, n);
    page->names[page->names_n + n] = '\0';
    frame->symbol = (uint16_t)(page->names_n + 1);
    page->names_n += (uint32_t)n + 1;
}

/* The frames of one module; of several symbols that hold a place, the one that is left is the shortest. */
static void look_through(struct crash_page *page, struct crash_room *room, const struct image *m, uint16_t module,
                         const ELF(Shdr) * table, uint64_t (*clock)(void), uint64_t until_ns)
{
    const ELF(Sym) *s = part_of(m, table->sh_offset, table->sh_size);
    const ELF(Shdr) *strings = table->sh_link < m->header->e_shnum ? &m->sections[table->sh_link] : NULL;
    const char *text = strings != NULL ? part_of(m, strings->sh_offset, strings->sh_size) : NULL;
    uint64_t addresses[CRASH_FRAMES], count = table->sh_size / sizeof *s;
    if (s == NULL || text == NULL)
        return;
    for (uint32_t i = 0; i < page->frames_n; i++) {
        room->best_name[i] = NULL;
        addresses[i] = page->frames[i].module == module ? address_of(m, page->frames[i].offset - step_back(page, i)) : 0;
    }
    for (uint64_t k = 0; k < count; k++) {
        if (k % LOOK_AT_CLOCK == 0 && clock() >= until_ns)
            break;
        int type = SYMBOL_TYPE(s[k].st_info);
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || s[k].st_shndx == SHN_UNDEF || s[k].st_name >= strings->sh_size)
            continue;
        for (uint32_t i = 0; i < page->frames_n; i++) {
            if (addresses[i] == 0 || addresses[i] < s[k].st_value || addresses[i] - s[k].st_value >= s[k].st_size ||
                (room->best_name[i] != NULL && room->best_size[i] <= s[k].st_size))
                continue;
            room->best_name[i] = text + s[k].st_name;
            room->best_size[i] = s[k].st_size;
            page->frames[i].symbol_offset = addresses[i] + step_back(page, i) - s[k].st_value;
        }
    }
    for (uint32_t i = 0; i < page->frames_n; i++)
        if (room->best_name[i] != NULL)
            take_name(page, &page->frames[i], room->best_name[i], text + strings->sh_size);
}

static const ELF(Shdr) * find_table(const struct image *m, uint32_t type)
{
    for (unsigned i = 0; m->sections != NULL && i < m->header->e_shnum; i++)
        if (m->sections[i].sh_type == type && m->sections[i].sh_entsize == sizeof(ELF(Sym)))
            return &m->sections[i];
    return NULL;
}

static void look_into(struct crash_page *page, struct crash_room *room, const struct image *m, uint16_t module,
                      uint64_t (*clock)(void), uint64_t until_ns)
{
    find_build_id(m, &page->modules[module - 1]);
    const ELF(Shdr) *table = find_table(m, SHT_SYMTAB);
    if (table == NULL)
        table = find_table(m, SHT_DYNSYM);
    if (table != NULL)
        look_through(page, room, m, module, table, clock, until_ns);
}

static void look_up(struct crash_page *page, struct crash_room *room, uint16_t module, uint64_t (*clock)(void),
                    uint64_t until_ns)
{
    struct image m;
    if (room->path[module - 1][0] != '/' || !map_image(&m, room->path[module - 1]))
        return;
    if (read_header(&m))
        look_into(page, room, &m, module, clock, until_ns);
    close_image(&m);
}

bool crash_find_symbols(struct crash_page *page, struct crash_room *room, uint64_t (*clock)(void), uint64_t until_ns)
{
    uint32_t done = 0;
    for (uint32_t i = 0; i < page->frames_n; i++) { /* who is near the fault comes first */
        uint16_t module = page->frames[i].module;
        if (module == 0 || (done & UINT32_C(1) << module) != 0)
            continue;
        if (clock() >= until_ns)
            return false;
        done |= UINT32_C(1) << module;
        look_up(page, room, module, clock, until_ns);
    }
    return clock() < until_ns;
}
