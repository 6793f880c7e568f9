# The core library in three forms: shared (exports pit_* only), static (one object, everything but pit_* local) and snakepit_testing,
# in which tests reach the internals.
set(core_sources)
foreach(layer base os ring wire telemetry channel fault guard registry crash worker pool api)
    file(GLOB found CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${layer}/*.c")
    list(APPEND core_sources ${found})
endforeach()
list(FILTER core_sources EXCLUDE REGEX "/src/guard/guard_main[^/]*\\.c$")
# Faults by plan are for tests: a product has none of them (check_symbols looks).
set(fault_sources "${CMAKE_SOURCE_DIR}/src/fault/inject.c" "${CMAKE_SOURCE_DIR}/src/api/faults.c")
if(NOT PIT_FAULTS)
    list(REMOVE_ITEM core_sources ${fault_sources})
endif()

function(snakepit_internal target)
    target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/include")
    target_compile_options(${target} PRIVATE ${SNAKEPIT_STRICT})
endfunction()

add_library(snakepit_core OBJECT ${core_sources})
snakepit_internal(snakepit_core)
# Where the library looks for the guard and the Python package after option, environment and its own folder: from the folder of a program that
# holds it, and last in the compiled prefix.
file(RELATIVE_PATH bin_to_lib "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
target_compile_definitions(snakepit_core PRIVATE SNAKEPIT_FROM_BIN="${bin_to_lib}/snakepit" SNAKEPIT_INSTALL_DIR="${CMAKE_INSTALL_FULL_LIBDIR}/snakepit"
    SNAKEPIT_VERSION="${PROJECT_VERSION}")
if(PIT_FAULTS)
    target_compile_definitions(snakepit_core PRIVATE PIT_FAULTS=1)
endif()
if(SNAKEPIT_COVERAGE)
    # gcc's own execve writes the counts out; in a child of vfork it would mark those of the host as written, and they would be lost at its end.
    target_compile_options(snakepit_core PRIVATE -fno-builtin-execve)
endif()
set(core_objects $<TARGET_OBJECTS:snakepit_core>)

# A hot call goes through ten small files: optimized as one, it takes a seventh less time. The objects keep their ordinary code as well, for the
# tests, which link it a hundred times.
set(link_time "")
set(relocate "${CMAKE_LINKER}" -r)
if(SNAKEPIT_WHOLE_PROGRAM)
    set(link_time -O3 -flto=auto)
    set(relocate "${CMAKE_C_COMPILER}" -r -nostdlib -g -fPIC ${link_time} -flinker-output=nolto-rel)
    target_compile_options(snakepit_core PRIVATE ${link_time} -ffat-lto-objects)
endif()

add_library(snakepit_shared SHARED ${core_objects})
set_target_properties(snakepit_shared PROPERTIES OUTPUT_NAME snakepit VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
    LINKER_LANGUAGE C LINK_DEPENDS "${CMAKE_SOURCE_DIR}/cmake/snakepit.map")
target_link_options(snakepit_shared PRIVATE ${link_time} "LINKER:--version-script=${CMAKE_SOURCE_DIR}/cmake/snakepit.map")
if(NOT SNAKEPIT_SANITIZE AND NOT SNAKEPIT_FUZZ)
    target_link_options(snakepit_shared PRIVATE LINKER:-z,defs)
endif()
target_link_libraries(snakepit_shared PRIVATE Threads::Threads)
target_include_directories(snakepit_shared INTERFACE "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
set_target_properties(snakepit_shared PROPERTIES EXPORT_NAME snakepit)

# A static archive has no visibility of its own: link the objects into one, then make every other symbol local, so that two libraries in one
# program never meet in a name like buf_put.
set(archive "${CMAKE_BINARY_DIR}/libsnakepit.a")
set(relocatable "${CMAKE_BINARY_DIR}/CMakeFiles/libsnakepit.o")
add_custom_command(
    OUTPUT "${archive}"
    COMMAND ${relocate} -o "${relocatable}" ${core_objects}
    COMMAND "${CMAKE_OBJCOPY}" --wildcard "--keep-global-symbol=pit_*" "--localize-symbol=pit_*.*" "${relocatable}"
    COMMAND "${CMAKE_COMMAND}" -E rm -f "${archive}"
    COMMAND "${CMAKE_AR}" rcsD "${archive}" "${relocatable}"
    DEPENDS ${core_objects} snakepit_core
    COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Linking libsnakepit.a")
add_custom_target(snakepit_archive ALL DEPENDS "${archive}")
add_library(snakepit_static STATIC IMPORTED GLOBAL)
set_target_properties(snakepit_static PROPERTIES IMPORTED_LOCATION "${archive}" INTERFACE_LINK_LIBRARIES Threads::Threads
    INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_SOURCE_DIR}/include")
add_dependencies(snakepit_static snakepit_archive)

add_library(snakepit_testing STATIC EXCLUDE_FROM_ALL ${core_objects})
set_target_properties(snakepit_testing PROPERTIES LINKER_LANGUAGE C ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
target_include_directories(snakepit_testing INTERFACE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/include")
target_link_libraries(snakepit_testing PUBLIC Threads::Threads)
if(SNAKEPIT_WHOLE_PROGRAM)
    target_link_options(snakepit_testing INTERFACE -fno-lto) # else gcc optimizes the whole library again for each of fifty tests
endif()
