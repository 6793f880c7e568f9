# The guard, the command line, the examples, the bench and the Python package.
file(GLOB guard_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/guard/guard_main*.c")
if(guard_sources)
    # An archive, so that the guard gets only those parts of base that it uses.
    file(GLOB base_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/base/*.c")
    add_library(snakepit_base_archive STATIC EXCLUDE_FROM_ALL ${base_sources})
    snakepit_internal(snakepit_base_archive)
    set_target_properties(snakepit_base_archive PROPERTIES ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    add_executable(snakepit-guard ${guard_sources})
    snakepit_internal(snakepit-guard)
    target_compile_definitions(snakepit-guard PRIVATE SNAKEPIT_VERSION="${PROJECT_VERSION}")
    target_link_libraries(snakepit-guard PRIVATE snakepit_base_archive)
    # The same program with a table of failing system calls, for tests/fault only.
    add_executable(snakepit-guard-faults ${guard_sources})
    snakepit_internal(snakepit-guard-faults)
    target_compile_definitions(snakepit-guard-faults PRIVATE GUARD_FAULTS=1 SNAKEPIT_VERSION="${PROJECT_VERSION}")
    target_link_libraries(snakepit-guard-faults PRIVATE snakepit_base_archive)
    set_target_properties(snakepit-guard-faults PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    if(SNAKEPIT_SANITIZE MATCHES "address")
        target_sources(snakepit-guard PRIVATE "${CMAKE_SOURCE_DIR}/tests/guard_leaks.c")
        target_sources(snakepit-guard-faults PRIVATE "${CMAKE_SOURCE_DIR}/tests/guard_leaks.c")
    endif()
endif()

set(parts cli)
if(SNAKEPIT_EXAMPLES)
    list(APPEND parts examples)
endif()
if(SNAKEPIT_BENCH)
    list(APPEND parts bench)
endif()

if(NOT SNAKEPIT_FUZZ)
    foreach(part ${parts})
        if(EXISTS "${CMAKE_SOURCE_DIR}/${part}/CMakeLists.txt")
            add_subdirectory("${CMAKE_SOURCE_DIR}/${part}" "${CMAKE_BINARY_DIR}/CMakeFiles/${part}")
        endif()
    endforeach()

    # build_ext.py copies the package and compiles the extension where something has changed; it is quick when nothing has.
    if(EXISTS "${CMAKE_SOURCE_DIR}/python/build_ext.py")
        set(build_ext "${CMAKE_COMMAND}" -E env "CC=${CMAKE_C_COMPILER}" "${SNAKEPIT_PYTHON}" "${CMAKE_SOURCE_DIR}/python/build_ext.py")
        set(more)
        foreach(python ${SNAKEPIT_MORE_PYTHONS})
            list(APPEND more COMMAND "${CMAKE_COMMAND}" -E env "CC=${CMAKE_C_COMPILER}" "${python}" "${CMAKE_SOURCE_DIR}/python/build_ext.py"
                --out "${CMAKE_BINARY_DIR}/python")
        endforeach()
        add_custom_target(snakepit_python ALL COMMAND ${build_ext} --out "${CMAKE_BINARY_DIR}/python" ${more}
            VERBATIM COMMENT "Python package for ${SNAKEPIT_PYTHON} ${SNAKEPIT_MORE_PYTHONS}")
        if(SNAKEPIT_SANITIZE)
            # Only an interpreter that preloads the sanitizer's library can load it, so it stands apart from the one that the workers use.
            add_custom_target(snakepit_python_sanitized ALL
                COMMAND ${build_ext} --out "${CMAKE_BINARY_DIR}/python-sanitized" "--sanitize=${SNAKEPIT_SANITIZE}"
                VERBATIM COMMENT "Python package with sanitizers")
        endif()
    endif()
endif()

# The manual pages of section 3, from the comments of the public headers. Which there are, only the headers know: hence a folder and a stamp.
file(GLOB public_headers CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/include/snakepit/*.h")
set(man_stamp "${CMAKE_BINARY_DIR}/CMakeFiles/man3.stamp")
add_custom_command(OUTPUT "${man_stamp}"
    COMMAND "${SNAKEPIT_PYTHON}" "${CMAKE_SOURCE_DIR}/tools/make_man" --out "${CMAKE_BINARY_DIR}/man/man3" --release "${PROJECT_VERSION}" "${SNAKEPIT_DATE}"
    COMMAND "${CMAKE_COMMAND}" -E touch "${man_stamp}"
    DEPENDS ${public_headers} "${CMAKE_SOURCE_DIR}/tools/make_man" "${CMAKE_SOURCE_DIR}/tools/gatelib.py"
    VERBATIM COMMENT "Manual pages")
add_custom_target(snakepit_man ALL DEPENDS "${man_stamp}")

# What `./dev build` makes: everything but the tests.
add_custom_target(product DEPENDS snakepit_shared snakepit_archive snakepit_man)
foreach(target snakepit-guard snakepit_python)
    if(TARGET ${target})
        add_dependencies(product ${target})
    endif()
endforeach()
foreach(part ${parts})
    if(NOT SNAKEPIT_FUZZ AND EXISTS "${CMAKE_SOURCE_DIR}/${part}/CMakeLists.txt")
        get_property(targets DIRECTORY "${CMAKE_SOURCE_DIR}/${part}" PROPERTY BUILDSYSTEM_TARGETS)
        if(targets)
            add_dependencies(product ${targets})
        endif()
    endif()
endforeach()
